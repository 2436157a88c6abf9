//! Large arrays there and back: images that a server blurs, or finds the edges of.

mod serving;

use std::error::Error;
use std::time::{Duration, Instant};

use flexbond_rpc::client::Options;
use flexbond_rpc::tensor::Element;
use flexbond_rpc::{AddError, AnyTensor, Client, Failure, Methods, Tensor};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

const HELP: &str = r#"A server that blurs images and finds their edges, and a client that sends it some and prints how
fast that was. Images are arrays of two dimensions, rows first: float32 and uint8 are read where they were received,
other numbers are converted. No size of any buffer is to be chosen.

image_processing [--bind ENDPOINT]
image_processing --connect ENDPOINT [--size N] [--images N] [--method METHOD]

  --bind ENDPOINT     serve here: tcp://host:port, ipc:///path or ipc://@name;
                      default: tcp://127.0.0.1:0, any free port; "listening at ..." says which
  --connect ENDPOINT  send images of float32 to a server there
  --size N            rows and columns of each; default: 4096, which makes 64 MiB
  --images N          how many; default: 5
  --method METHOD     blur (default), edges, or mirror, which sends them back as they are

  blur    {"image": array, "sigma": 2.0}  Gaussian, sigma in pixels up to 100; answers float32
  edges   {"image": array}                the steepness by Sobel's operator; answers float32
  mirror  array                           the same array

Ctrl-C or SIGTERM lets running calls end, and prints a summary; a second one ends at once."#;

#[tokio::main]
async fn main() {
    let known = ["--bind", "--connect", "--size", "--images", "--method"];
    let arguments = serving::Arguments::parse(HELP, &known);
    let ended = match arguments.get("--connect") {
        None => {
            let methods = methods().expect("the names are names, and differ");
            serving::serve(methods, &arguments).await
        }
        Some(endpoint) => {
            let method = arguments.get("--method").unwrap_or("blur");
            let (size, images) = (arguments.number("--size", 4096), arguments.number("--images", 5));
            measure(endpoint, method, size, images).await
        }
    };
    serving::end(ended)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blur {
    image: AnyTensor,
    #[serde(default = "two")]
    sigma: f32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edges {
    image: AnyTensor,
}

fn two() -> f32 {
    2.0
}

/// The functions by name. The work is done on threads of its own, so that other calls do not wait for it.
pub(crate) fn methods() -> Result<Methods, AddError> {
    let methods = Methods::new()
        .add("blur", async |Blur { image, sigma }| {
            let worker = spawn_blocking(move || {
                let kernel = gaussian(sigma)?;
                with_pixels(&image, |pixels, width| blurred(pixels, width, &kernel))
            });
            worker.await.map_err(|error| stopped(&error))?
        })?
        .describe(
            "blur",
            "(image: array of 2 dimensions, sigma: f32 = 2) -> array of float32",
            "blurs an image; sigma in pixels",
        )
        .add("edges", async |Edges { image }| {
            let worker = spawn_blocking(move || with_pixels(&image, steepness));
            worker.await.map_err(|error| stopped(&error))?
        })?
        .describe(
            "edges",
            "(image: array of 2 dimensions) -> array of float32",
            "how steep an image is at each pixel",
        )
        .add("mirror", async |image: AnyTensor| Ok::<_, Failure>(image))?
        .describe("mirror", "(array) -> the same", "answers the array that it gets");
    Ok(methods)
}

fn stopped(error: &tokio::task::JoinError) -> Failure {
    Failure::failed(2, format!("the work ended early: {error}"))
}

/// Hands the pixels to `work` as they arrived, row by row, with the width of the image.
fn with_pixels(
    image: &AnyTensor,
    work: impl FnOnce(Pixels<'_>, usize) -> Vec<f32>,
) -> Result<Tensor<f32>, Failure> {
    let &[_, width] = image.shape() else {
        let message = format!("an image has 2 dimensions, not {}", image.shape().len());
        return Err(Failure::failed(1, message));
    };
    let converted: Vec<f32>;
    let pixels = if let Some(floats) = image.as_slice::<f32>() {
        Pixels::Floats(floats)
    } else if let Some(bytes) = image.as_slice::<u8>() {
        Pixels::Bytes(bytes)
    } else if let Some(numbers) = image.to_floats() {
        converted = numbers.iter().map(|&number| number as f32).collect();
        Pixels::Floats(&converted)
    } else {
        let message = format!("an image is of real numbers, not of {}", image.dtype());
        return Err(Failure::failed(1, message));
    };
    let worked = match image.is_empty() {
        true => Vec::new(),
        false => work(pixels, width),
    };
    Tensor::new(image.shape(), worked).map_err(|error| Failure::failed(1, error.to_string()))
}

#[derive(Clone, Copy)]
enum Pixels<'a> {
    Floats(&'a [f32]),
    Bytes(&'a [u8]),
}

impl Pixels<'_> {
    fn height(self, width: usize) -> usize {
        let pixels = match self {
            Pixels::Floats(floats) => floats.len(),
            Pixels::Bytes(bytes) => bytes.len(),
        };
        pixels / width
    }

    /// Writes a row as floats, with its first and last pixel repeated beyond its ends.
    fn row(self, row: usize, width: usize, margin: usize, into: &mut Vec<f32>) {
        fn fill<T: Element + Into<f32>>(row: &[T], margin: usize, into: &mut Vec<f32>) {
            into.clear();
            let (first, last) = (row[0].into(), row[row.len() - 1].into());
            into.extend(std::iter::repeat_n(first, margin));
            into.extend(row.iter().map(|&pixel| pixel.into()));
            into.extend(std::iter::repeat_n(last, margin));
        }
        let range = row * width..(row + 1) * width;
        match self {
            Pixels::Floats(floats) => fill(&floats[range], margin, into),
            Pixels::Bytes(bytes) => fill(&bytes[range], margin, into),
        }
    }
}

/// Half of a bell, from its middle on; both halves add up to 1.
fn gaussian(sigma: f32) -> Result<Vec<f32>, Failure> {
    if !(0.1..=100.0).contains(&sigma) {
        return Err(Failure::failed(
            1,
            format!("sigma is from 0.1 to 100, not {sigma}"),
        ));
    }
    let reach = (3.0 * sigma).ceil() as usize;
    let bell: Vec<f32> = (0..=reach)
        .map(|distance| (-0.5 * (distance as f32 / sigma).powi(2)).exp())
        .collect();
    let sum = 2.0 * bell.iter().sum::<f32>() - bell[0];
    Ok(bell.iter().map(|weight| weight / sum).collect())
}

/// Each pixel the mean of those around it: first along rows, then along columns, whole rows at a time.
fn blurred(pixels: Pixels<'_>, width: usize, kernel: &[f32]) -> Vec<f32> {
    let (height, reach) = (pixels.height(width), kernel.len() - 1);
    let mut along_rows = vec![0.0; width * height];
    let mut padded = Vec::new();
    for (index, row) in along_rows.chunks_exact_mut(width).enumerate() {
        pixels.row(index, width, reach, &mut padded);
        add(row, &padded[reach..], kernel[0]);
        for (distance, &weight) in kernel.iter().enumerate().skip(1) {
            add(row, &padded[reach - distance..], weight);
            add(row, &padded[reach + distance..], weight);
        }
    }
    let row = |index: usize| &along_rows[index * width..(index + 1) * width];
    let mut blurred = vec![0.0; width * height];
    for (index, sum) in blurred.chunks_exact_mut(width).enumerate() {
        add(sum, row(index), kernel[0]);
        for (distance, &weight) in kernel.iter().enumerate().skip(1) {
            add(sum, row(index.saturating_sub(distance)), weight);
            add(sum, row((index + distance).min(height - 1)), weight);
        }
    }
    blurred
}

fn add(sum: &mut [f32], row: &[f32], weight: f32) {
    for (sum, pixel) in sum.iter_mut().zip(row) {
        *sum += weight * pixel;
    }
}

/// Sobel's operator: the length of the gradient, in units of pixel values.
fn steepness(pixels: Pixels<'_>, width: usize) -> Vec<f32> {
    let height = pixels.height(width);
    let (mut above, mut here, mut below) = (Vec::new(), Vec::new(), Vec::new());
    let mut steepness = Vec::with_capacity(width * height);
    for row in 0..height {
        pixels.row(row.saturating_sub(1), width, 1, &mut above);
        pixels.row(row, width, 1, &mut here);
        pixels.row((row + 1).min(height - 1), width, 1, &mut below);
        steepness.extend((0..width).map(|at| {
            let (left, right) = (at, at + 2);
            let across = above[right] + 2.0 * here[right] + below[right]
                - (above[left] + 2.0 * here[left] + below[left]);
            let down = below[left] + 2.0 * below[at + 1] + below[right]
                - (above[left] + 2.0 * above[at + 1] + above[right]);
            across.hypot(down)
        }));
    }
    steepness
}

/// Sends images, one after the other, and prints how long each took.
async fn measure(endpoint: &str, method: &str, size: usize, images: usize) -> Result<(), Box<dyn Error>> {
    // A large image takes its time on a small machine.
    let client = Client::with_options(endpoint, Options::new().timeout(Duration::from_secs(300)))?;
    client.connected(Duration::from_secs(5)).await?;
    let pixels = (0..size * size)
        .map(|index| {
            // Stripes: something to blur, with edges.
            let (row, column) = (index / size, index % size);
            if (row + column) % 256 < 128 { 200.0 } else { 50.0 }
        })
        .collect::<Vec<f32>>();
    let image = AnyTensor::from_elements(&[size, size], pixels)?;
    let megabytes = image.data().len() as f64 / 1e6;
    for number in 1..=images {
        let begin = Instant::now();
        let answer: Tensor<f32> = match method {
            "blur" => {
                let arguments = Blur {
                    image: image.clone(),
                    sigma: two(),
                };
                client.call(method, &arguments).await?
            }
            "edges" => client.call(method, &Edges { image: image.clone() }).await?,
            _ => client.call(method, &image).await?,
        };
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "image {number}: {megabytes:.1} MB there and {:.1} MB back in {seconds:.3} s, {:.0} MB/s in all; {method} gave {} to {}",
            answer.len() as f64 * 4.0 / 1e6,
            (megabytes + answer.len() as f64 * 4.0 / 1e6) / seconds,
            answer.iter().copied().fold(f32::INFINITY, f32::min),
            answer.iter().copied().fold(f32::NEG_INFINITY, f32::max),
        );
    }
    Ok(())
}

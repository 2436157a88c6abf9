//! A server of small functions: sums and differences of numbers and arrays, and functions that fail, panic and wait.

mod serving;

use std::borrow::Cow;
use std::time::Duration;

use flexbond_rpc::tensor::Element;
use flexbond_rpc::{AddError, AnyTensor, Encoded, Failure, Methods, Response};
use futures_util::stream;
use serde::Deserialize;

const HELP: &str = r#"A server of small functions, to be called from any language.

calculator [--bind ENDPOINT]

  --bind ENDPOINT  tcp://host:port, ipc:///path or ipc://@name; default: tcp://127.0.0.1:0,
                   any free port; the line "listening at ..." says which

  add    {"a": 1, "b": 2}        numbers, or arrays of one shape, or an array and a number;
                                 in postcard, each an AnyTensor: a bare f64 is no array there
  minus  {"a": [1, 2], "b": 3}
  echo                           answers what it gets, buffers too
  sleep  {"ms": 100}             answers after so many milliseconds
  fail   {"code": 7, "message": "no"}
  panic  {"message": "oh"}
  count  {"n": 3}                a stream: 0, 1, 2

Ctrl-C or SIGTERM lets running calls end, and prints a summary; a second one ends at once. In another terminal, with the endpoint printed:

  flexbond call tcp://127.0.0.1:PORT add '{"a": [1, 2], "b": [3, 4]}'
  flexbond call tcp://127.0.0.1:PORT count '{"n": 3}' --stream
  python rpc/examples/client.py tcp://127.0.0.1:PORT"#;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = serving::Arguments::parse(HELP, &["--bind"]);
    let methods = methods().expect("the names are names, and differ");
    serving::end(serving::serve(methods, &arguments).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operands {
    a: AnyTensor,
    b: AnyTensor,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sleep {
    ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Panic {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    n: u64,
}

/// Codes of failures.
const SHAPES_DIFFER: i64 = 1;
const OUT_OF_RANGE: i64 = 2;
const NO_ARITHMETIC: i64 = 3;

/// The functions by name.
pub(crate) fn methods() -> Result<Methods, AddError> {
    let methods = Methods::new()
        .add("add", async |operands: Operands| {
            combined(operands, i64::checked_add, |a, b| a + b)
        })?
        .describe(
            "add",
            "(a: number or array, b: number or array) -> number or array",
            "adds numbers, arrays of one shape, or a number to each of an array",
        )
        .add("minus", async |operands: Operands| {
            combined(operands, i64::checked_sub, |a, b| a - b)
        })?
        .describe(
            "minus",
            "(a: number or array, b: number or array) -> number or array",
            "subtracts as add adds",
        )
        .add_raw("echo", async |request| {
            // As it came: whatever the codec, the answer has the same body and the same buffers.
            let (body, buffers) = (request.body, request.buffers);
            Ok(Response::from_encoded(request.codec, Encoded { body, buffers }))
        })?
        .describe("echo", "(anything) -> the same", "answers what it gets")
        .add("sleep", async |Sleep { ms }| {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok::<_, Failure>(ms)
        })?
        .describe("sleep", "(ms: u64) -> u64", "answers after so many milliseconds")
        .add("fail", async |Fail { code, message }| {
            Err::<(), _>(Failure::failed(code, message))
        })?
        .describe(
            "fail",
            "(code: i64, message: string) -> failure",
            "fails with this code and message",
        )
        .add("panic", async |Panic { message }| -> Result<(), Failure> {
            panic!("{message}")
        })?
        .describe(
            "panic",
            "(message: string = \"\") -> failure",
            "panics; the server lives on",
        )
        .add_stream("count", async |Count { n }| {
            Ok::<_, Failure>(stream::iter((0..n).map(Ok::<_, Failure>)))
        })?
        .describe("count", "(n: u64) -> stream of u64", "counts from 0 to n - 1");
    Ok(methods)
}

/// Integers stay integers; whatever is mixed with numbers that have fractions becomes one.
fn combined(
    Operands { a, b }: Operands,
    integers: fn(i64, i64) -> Option<i64>,
    floats: fn(f64, f64) -> f64,
) -> Result<AnyTensor, Failure> {
    let shape = match (a.shape(), b.shape()) {
        (a, []) => a,
        ([], b) => b,
        (a, b) if a == b => a,
        (a, b) => {
            let message = format!("shapes {a:?} and {b:?} do not go together");
            return Err(Failure::failed(SHAPES_DIFFER, message));
        }
    };
    // As the arguments were written, so is the answer.
    let is_inline = a.is_inline() && b.is_inline();
    let combined = match (a.to_integers(), b.to_integers()) {
        (Some(a), Some(b)) => {
            let out_of_range = || Failure::failed(OUT_OF_RANGE, "the result does not fit into 64 bits");
            array(
                shape,
                pairs(&a, &b)
                    .map(|(a, b)| integers(a, b))
                    .collect::<Option<_>>()
                    .ok_or_else(out_of_range)?,
            )
        }
        _ => {
            let (a, b) = (numbers(&a)?, numbers(&b)?);
            let combined: Vec<f64> = pairs(&a, &b).map(|(a, b)| floats(a, b)).collect();
            if is_inline && !combined.iter().all(|number| number.is_finite()) {
                let message =
                    "the result is not finite, which lists of numbers cannot say: send arrays of bytes";
                return Err(Failure::failed(OUT_OF_RANGE, message));
            }
            array(shape, combined)
        }
    };
    Ok(combined?.inline(is_inline))
}

fn numbers(array: &AnyTensor) -> Result<Cow<'_, [f64]>, Failure> {
    let none = || Failure::failed(NO_ARITHMETIC, format!("no arithmetic for {}", array.dtype()));
    array.to_floats().ok_or_else(none)
}

/// The numbers of both, one by one; a single one goes with each of the others.
fn pairs<T: Copy>(a: &[T], b: &[T]) -> impl Iterator<Item = (T, T)> {
    let len = match (a.len(), b.len()) {
        (1, len) | (len, 1) => len,
        (len, _) => len,
    };
    a.iter().copied().cycle().zip(b.iter().copied().cycle()).take(len)
}

fn array<T: Element>(shape: &[usize], numbers: Vec<T>) -> Result<AnyTensor, Failure> {
    AnyTensor::from_elements(shape, numbers)
        .map_err(|error| Failure::failed(SHAPES_DIFFER, error.to_string()))
}

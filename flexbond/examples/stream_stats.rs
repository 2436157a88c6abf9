//! A data stream: arrays with a header, and what came of them.

use flexbond::stream::{
    Arrays, Attach, ConnectOptions, ElementType, Endianness, Header, Layout, Mode, Stream, StreamMessage,
    bytes_of,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // [readme]
    let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
    let mut detector = Stream::connect("tcp://127.0.0.1:0", options).await?;
    let mut viewer = Stream::connect(detector.endpoint(), ConnectOptions::new()).await?;

    let layout = Layout::new(ElementType::Float32, Endianness::NATIVE, &[480, 640])?;
    for frame in 0..10 {
        let pixels = vec![frame as f32; 480 * 640];
        let image = Arrays::new(layout.clone(), vec![bytes_of(pixels).into()])?;
        let header = Header::new("array-1.0")
            .with("frame", frame)
            .with("source", "camera 1");
        detector.send(StreamMessage::arrays(header, image)).await?;

        let message = viewer.receive().await?;
        let image = message
            .as_arrays()
            .and_then(|arrays| arrays.get(0))
            .ok_or("no image")?;
        let pixels = image.to_slice::<f32>().ok_or("not float32")?;
        println!(
            "frame {:?}: {:?}, first {}",
            message.header.frame(),
            image.layout().shape(),
            pixels[0]
        );
    }
    let totals = viewer.statistics().totals();
    println!(
        "{} messages, {} bytes, {} frames missing",
        totals.messages, totals.bytes, totals.lost_frames
    );
    // [/readme]
    assert_eq!((totals.messages, totals.lost_frames), (10, 0));
    detector.disconnect().await;
    Ok(())
}

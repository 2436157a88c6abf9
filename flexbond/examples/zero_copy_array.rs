//! A typed array sent and received without a copy.
//!
//! Through inproc the receiver gets the sender's very memory, which the addresses prove. Through tcp the system has to
//! carry the bytes, and that is all: the sender writes from the array's memory, and the receiver reads into the
//! memory that the array view borrows.

use flexbond::prelude::*;
use flexbond::stream::{Arrays, ElementType, Endianness, Layout, bytes_of};

const SHAPE: [usize; 2] = [1024, 1024];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for bind in ["inproc://arrays", "tcp://127.0.0.1:0"] {
        let push = Push::new();
        let endpoint = push.bind(bind).await?;
        let pull = Pull::new();
        pull.connect(&endpoint)?;

        let samples: Vec<f64> = (0..1024 * 1024).map(f64::from).collect();
        let sent_from = samples.as_ptr();
        push.send(bytes_of(samples)).await?;

        let layout = Layout::new(ElementType::Float64, Endianness::NATIVE, &SHAPE)?;
        let arrays = Arrays::new(layout, pull.recv().await?.into_frames())?;
        let view = arrays.get(0).ok_or("no array")?;
        let samples: &[f64] = view.as_slice().ok_or("the buffer is not aligned for f64")?;

        assert_eq!(samples.len(), 1024 * 1024);
        assert!(
            samples
                .iter()
                .zip(0..)
                .all(|(&sample, index)| sample == f64::from(index))
        );
        let same = samples.as_ptr() == sent_from;
        println!(
            "{endpoint}: {} samples, {}",
            samples.len(),
            if same {
                "the sender's own memory"
            } else {
                "as received"
            }
        );
        assert!(same || !bind.starts_with("inproc"));
        push.close().await;
    }
    Ok(())
}

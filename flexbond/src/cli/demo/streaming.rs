//! A data stream: a camera and its viewer, who looks at the pixels and at the stream's own statistics.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::payload::Payload;
use super::stage::{Outcome, STALL, Stage, Watch, both};
use crate::stream::{
    Arrays, Attach, ConnectOptions, ElementType, Endianness, Header, Layout, Mode, Stream, StreamMessage,
};

/// Tells the viewer that no frame follows.
const LAST: &str = "last";

pub(super) fn run(stage: Stage, time: Duration, watch: &Watch) -> Result<Outcome, String> {
    let (tell, endpoint) = oneshot::channel();
    let camera = || async move {
        let options = options().mode(Mode::Push).attach(Attach::Bind);
        let mut stream = Stream::connect(stage.address(), options)
            .await
            .map_err(|error| error.to_string())?;
        // The other end is gone only when it has failed, and then says so itself.
        let _ = tell.send(stream.endpoint().clone());
        let pixels = Payload::bodies(stage.size);
        let layout = Layout::new(ElementType::UInt8, Endianness::NATIVE, &[stage.size])
            .map_err(|error| error.to_string())?;
        let begin = Instant::now();
        let mut frame = 0;
        loop {
            let last = watch.is_over(frame, begin, time);
            let image = Arrays::new(layout.clone(), vec![pixels.body(frame).into()])
                .map_err(|error| error.to_string())?;
            let header = Header::new("array-1.0").with("frame", frame).with(LAST, last);
            stream
                .send(StreamMessage::arrays(header, image))
                .await
                .map_err(|error| error.to_string())?;
            if last {
                break;
            }
            frame += 1;
        }
        stream.disconnect().await;
        Ok(begin)
    };
    let viewer = || async move {
        let endpoint = endpoint.await.map_err(|_| "there is no camera".to_owned())?;
        let mut stream = Stream::connect(endpoint, options())
            .await
            .map_err(|error| error.to_string())?;
        let pixels = Payload::bodies(stage.size);
        let mut fault = None;
        for frame in 0.. {
            let message = stream.receive().await.map_err(|error| error.to_string())?;
            if message.header.frame() != Some(frame) {
                fault = Some(format!(
                    "frame {:?} came in the place of {frame}",
                    message.header.frame()
                ));
            } else if !shows(&message, &pixels, frame) {
                fault = Some(format!("frame {frame} is damaged"));
            }
            watch.messages.store(frame + 1, Ordering::Relaxed);
            if fault.is_some() || message.header.get(LAST).is_some_and(|last| last == true) {
                break;
            }
        }
        let end = Instant::now();
        let totals = stream.statistics().totals();
        if totals.lost_frames > 0 {
            fault = fault.or(Some(format!("{} frames are missing", totals.lost_frames)));
        }
        stream.disconnect().await;
        Ok((totals, end, fault))
    };
    let (begin, (totals, end, fault)) = both(camera, viewer)?;
    Ok(Outcome {
        messages: totals.messages,
        bytes: totals.bytes,
        elapsed: end.duration_since(begin),
        round_trip: None,
        fault,
    })
}

fn options() -> ConnectOptions {
    ConnectOptions::new().receive_timeout(STALL).send_timeout(STALL)
}

fn shows(message: &StreamMessage, pixels: &Payload, frame: u64) -> bool {
    let image = message.as_arrays().and_then(|arrays| arrays.get(0));
    image
        .and_then(|image| image.as_slice::<u8>())
        .is_some_and(|image| pixels.is_body(image, frame))
}

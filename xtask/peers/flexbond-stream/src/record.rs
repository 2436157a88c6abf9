//! The recorder alone: messages that are there already, to a file.

use std::path::PathBuf;
use std::time::Instant;

use flexbond_stream::recording::{QueueOptions, Recorder, SyncPolicy, WriteOptions};
use flexbond_transport::{Frame, Message};
use peer_harness::{Result, Words, print};
use serde_json::json;

/// Records so many messages and closes the file.
#[tokio::main(flavor = "current_thread")]
pub(super) async fn run(mut words: Words) -> Result<()> {
    let file: PathBuf = words.take("file")?.ok_or("file= is missing")?;
    let size: usize = words.get("size", 1 << 20)?;
    let messages: u64 = words.get("messages", 1024)?;
    let sync = match words.get("sync", "close".to_owned())?.as_str() {
        "never" => SyncPolicy::Never,
        "close" => SyncPolicy::OnClose,
        other => return Err(format!("unknown policy `{other}`").into()),
    };
    words.finish()?;
    // As m_generate's: all messages share one block of data.
    let data = Frame::from((0..size).map(|index| (index % 251) as u8).collect::<Vec<u8>>());
    let begin = Instant::now();
    let recorder = Recorder::create(file, WriteOptions::new().sync(sync), QueueOptions::new())?;
    for number in 0..messages {
        let header = format!(r#"{{"htype":"raw-1.0","frame":{number}}}"#);
        recorder
            .record(Message::from([Frame::from(header), data.clone()]))
            .await?;
    }
    let summary = recorder.close().await?;
    print(&json!({ "recorded": summary.messages, "seconds": begin.elapsed().as_secs_f64() }));
    Ok(())
}

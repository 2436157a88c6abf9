//! Recordings that are written past the page cache, in part or whole: they are what they are without.
#![cfg(feature = "recording")]

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use flexbond_stream::recording::{
    DirectWrites, Info, QueueOptions, Reader, Recorder, Recording, Rotation, SyncPolicy, Timestamp, TornTail,
    WriteError, WriteOptions, Writer,
};
use flexbond_transport::Message;

const ALL: [DirectWrites; 3] = [DirectWrites::Auto, DirectWrites::Always, DirectWrites::Never];

/// Short and long ones, of any length.
fn message(number: u64) -> Message {
    let len = match number % 7 {
        0 => 1_500_000,
        1 => 4_096,
        2 => 10,
        _ => 200_000,
    } + number as usize;
    // Of one pattern, as it takes long to make.
    static PATTERN: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..2_000_000_u32).map(|at| (at ^ (at >> 8)) as u8).collect());
    let at = number as usize * 7;
    Message::from([number.to_le_bytes().to_vec(), PATTERN[at..at + len].to_vec()])
}

fn time(number: u64) -> Timestamp {
    Timestamp::from_nanos(number as i64)
}

fn write(writer: &mut Writer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        assert_eq!(writer.write(&message(number), time(number)).unwrap(), number);
    }
}

/// That the file at `path` has these messages and not a byte more than it needs.
fn check(path: &Path, numbers: std::ops::Range<u64>) {
    let info = Info::verify(path).unwrap();
    assert_eq!(
        (info.messages, info.damaged, info.gaps),
        (numbers.end - numbers.start, 0, 0)
    );
    assert_eq!(info.bytes_lost, 0);
    for (number, recorded) in numbers.zip(Reader::open(path).unwrap()) {
        let recorded = recorded.unwrap();
        assert_eq!((recorded.number, recorded.time), (number, time(number)));
        assert!(recorded.message == message(number), "message {number}");
    }
}

#[test]
fn closed_appended_to_and_closed_again_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut sizes = Vec::new();
    for sync in [
        SyncPolicy::Never,
        SyncPolicy::OnClose,
        SyncPolicy::Every(Duration::ZERO),
    ] {
        for direct in ALL {
            let path = folder.path().join(format!("{direct:?}{sync:?}.fbr"));
            let options = WriteOptions::new().direct(direct).sync(sync);
            let mut writer = Writer::create(&path, options).unwrap();
            write(&mut writer, 0..20);
            writer.finish().unwrap();
            check(&path, 0..20);
            // From where no block ends.
            let mut writer = Writer::append(&path, options, TornTail::Refuse).unwrap();
            write(&mut writer, 20..40);
            assert!(
                matches!(
                    Writer::append(&path, options, TornTail::Truncate),
                    Err(WriteError::Busy { .. })
                ) || cfg!(windows)
            );
            // As a crash leaves it.
            drop(writer);
            check(&path, 0..40);
            // Torn off anywhere.
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(file.metadata().unwrap().len() - 150_001).unwrap();
            let mut writer = Writer::append(&path, options, TornTail::Truncate).unwrap();
            write(&mut writer, 39..60);
            writer.finish().unwrap();
            check(&path, 0..60);
            sizes.push(std::fs::metadata(&path).unwrap().len());
        }
    }
    assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
}

#[test]
fn files_follow_each_other() {
    let folder = tempfile::tempdir().unwrap();
    for direct in ALL {
        let path = folder.path().join(format!("{direct:?}.fbr"));
        let options = WriteOptions::new()
            .direct(direct)
            .rotation(Rotation::Size(3_000_000));
        let mut writer = Writer::create(&path, options).unwrap();
        write(&mut writer, 0..60);
        assert!(writer.finish().unwrap().files >= 5);
        let recording = Recording::open(&path).unwrap();
        let mut next = 0;
        for file in recording.numbered_files() {
            let messages = Info::read(file).unwrap().messages;
            check(file, next..next + messages);
            next += messages;
        }
        assert_eq!(next, 60);
    }
}

#[test]
fn readers_see_whole_messages_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for direct in ALL {
        let path = folder.path().join(format!("{direct:?}.fbr"));
        let mut writer = Writer::create(&path, WriteOptions::new().direct(direct)).unwrap();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        // Once more after the end, so that each reader has seen something.
                        loop {
                            let last = over.load(Ordering::Acquire);
                            let reader = Reader::open(&path).unwrap();
                            let mut read = 0;
                            for (number, recorded) in (0..).zip(reader) {
                                let recorded = recorded.unwrap();
                                assert_eq!(recorded.number, number);
                                assert!(
                                    recorded.message == message(number),
                                    "{direct:?}: message {number}"
                                );
                                read += 1;
                            }
                            if last {
                                return read;
                            }
                        }
                    })
                })
                .collect();
            for number in 0..120 {
                writer.write(&message(number), time(number)).unwrap();
                // At places of all kinds in a block.
                if number % 5 == 0 {
                    writer.flush().unwrap();
                }
            }
            writer.flush().unwrap();
            over.store(true, Ordering::Release);
            for reader in readers {
                assert_eq!(reader.join().unwrap(), 120, "{direct:?}");
            }
        });
        writer.finish().unwrap();
        check(&path, 0..120);
    }
}

#[tokio::test]
async fn what_is_recorded_is_in_the_file_once_nothing_more_comes() {
    let folder = tempfile::tempdir().unwrap();
    for direct in ALL {
        let path = folder.path().join(format!("{direct:?}.fbr"));
        let options = WriteOptions::new().direct(direct);
        let recorder = Recorder::create(&path, options, QueueOptions::new()).unwrap();
        for number in 0..50 {
            recorder.record(message(number)).await.unwrap();
        }
        // Nobody flushes, and the recording is not closed.
        let seen = async {
            while Reader::open(&path).unwrap().info().messages < 50 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), seen).await.unwrap();
        assert_eq!(recorder.stats().messages, 50);
        assert_eq!(recorder.close().await.unwrap().messages, 50);
        let messages = Reader::open(&path)
            .unwrap()
            .map(|recorded| recorded.unwrap().message);
        assert!(messages.eq((0..50).map(message)), "{direct:?}");
    }
}

//! Recordings in real files: rotated, appended to, dropped, full, exported.
#![cfg(feature = "recording")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexbond_stream::detector::DetectorImage;
use flexbond_stream::recording::{
    ExportError, Info, NpyWriter, OpenError, Overflow, Playlist, QueueOptions, Range, Reader, Recorded,
    Recorder, Recording, Repeat, Rotation, Selection, SourceError, SyncPolicy, Timestamp, TornTail,
    WriteError, WriteOptions, Writer, export_npy,
};
use flexbond_stream::{Array, Arrays, ElementType, Endianness, Header, Layout, StreamMessage};
use flexbond_transport::Message;
use tempfile::TempDir;

/// A folder that goes with the test, and the name of a recording in it.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.fbr");
    (folder, path)
}

fn message(number: u64) -> Message {
    Message::from([
        format!("header {number}").into_bytes(),
        vec![number as u8; 5_000 * (number as usize % 9)],
    ])
}

fn time(number: u64) -> Timestamp {
    Timestamp::from_nanos(number as i64 * 1_000_000)
}

fn write(writer: &mut Writer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        assert_eq!(writer.write(&message(number), time(number)).unwrap(), number);
    }
}

fn check(read: impl Iterator<Item = Recorded>, numbers: std::ops::Range<u64>) {
    let mut expected = numbers.clone();
    for recorded in read {
        assert_eq!(Some(recorded.number), expected.next());
        assert_eq!(recorded.time, time(recorded.number));
        assert_eq!(
            recorded.message,
            message(recorded.number),
            "message {}",
            recorded.number
        );
    }
    assert_eq!(expected.next(), None, "all of {numbers:?}");
}

#[test]
fn every_sync_policy_writes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for (n, sync) in [
        SyncPolicy::Never,
        SyncPolicy::OnClose,
        SyncPolicy::EachMessage,
        SyncPolicy::Every(Duration::ZERO),
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.path().join(format!("{n}.fbr"));
        let mut writer = Writer::create(&path, WriteOptions::new().sync(sync)).unwrap();
        write(&mut writer, 0..300);
        let summary = writer.finish().unwrap();
        assert_eq!((summary.messages, summary.files, summary.dropped), (300, 1, 0));
        check(Reader::open(&path).unwrap().map(Result::unwrap), 0..300);
        let info = Info::read(&path).unwrap();
        assert_eq!(info, Info::verify(&path).unwrap());
        assert_eq!((info.messages, info.bytes), (300, summary.bytes));
        assert!(info.closed_cleanly);
        assert_eq!(info.to_json()["messages"], 300);
    }
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let (_folder, path) = place();
    fs::write(&path, "precious").unwrap();
    let error = Writer::create(&path, WriteOptions::new()).unwrap_err();
    assert!(matches!(error, WriteError::Create { .. }), "{error}");
    assert!(matches!(
        Writer::append(&path, WriteOptions::new(), TornTail::Truncate),
        Err(WriteError::Append { .. })
    ));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::write(&path, [b'x'; 200]).unwrap();
    assert!(matches!(Info::read(&path), Err(OpenError::NotARecording)));
}

#[test]
fn rotated_files_are_readable_alone_and_together() {
    let folder = tempfile::tempdir().unwrap();
    for (name, rotation) in [
        ("size.fbr", Rotation::Size(100_000)),
        ("time.fbr", Rotation::Time(Duration::from_millis(10))),
    ] {
        let path = folder.path().join(name);
        let mut writer = Writer::create(&path, WriteOptions::new().rotation(rotation)).unwrap();
        write(&mut writer, 0..50);
        let summary = writer.finish().unwrap();
        assert!(!path.exists());
        let mut recording = Recording::open(&path).unwrap();
        let files = recording.numbered_files().to_vec();
        assert_eq!(files.len() as u64, summary.files);
        assert!(files.len() >= 5, "{files:?}");
        let mut next = 0;
        for (n, file) in files.iter().enumerate() {
            let info = Info::verify(file).unwrap();
            assert!(info.closed_cleanly && info.gaps == 0 && info.file_number as usize == n);
            assert!(info.file_size < 300_000);
            check(
                Reader::open(file).unwrap().map(Result::unwrap),
                next..next + info.messages,
            );
            next += info.messages;
        }
        assert_eq!(next, 50);
        let all = std::iter::from_fn(|| recording.next_message().unwrap());
        check(all, 0..50);
        for number in [49, 0, 25] {
            recording.seek_number(number).unwrap();
            assert_eq!(recording.next_message().unwrap().unwrap().number, number);
            recording.seek_time(time(number)).unwrap();
            assert_eq!(recording.next_message().unwrap().unwrap().number, number);
        }
        recording.seek_number(50).unwrap();
        assert!(recording.next_message().unwrap().is_none());
    }
    assert!(matches!(
        Recording::open(folder.path().join("other.fbr")),
        Err(SourceError::Open { .. })
    ));
}

#[test]
fn a_clock_that_is_set_back_turns_no_times_around_between_files() {
    let (_folder, path) = place();
    let options = WriteOptions::new().rotation(Rotation::Size(1));
    let mut writer = Writer::create(&path, options).unwrap();
    for seen in [-5, 7, 2, 3, 9] {
        writer.write(&message(0), Timestamp::from_nanos(seen)).unwrap();
    }
    assert_eq!(writer.finish().unwrap().files, 5);
    let times: Vec<i64> = Recording::open(&path)
        .unwrap()
        .map(|recorded| recorded.unwrap().time.as_nanos())
        .collect();
    assert_eq!(times, [-5, 7, 7, 7, 9]);
    // So a range of times has all of it, from where the first file reaches it.
    let range = Range::times(Timestamp::from_nanos(7)..Timestamp::from_nanos(9));
    let playlist = Playlist::new(Recording::open(&path).unwrap(), range, Repeat::ONCE);
    let numbers: Vec<u64> = playlist.map(|recorded| recorded.unwrap().number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

/// A recording of 50 messages in files of 100 kB, with the files' names.
fn rotated(folder: &Path) -> (PathBuf, Vec<PathBuf>) {
    let path = folder.join("run.fbr");
    let options = WriteOptions::new().rotation(Rotation::Size(100_000));
    let mut writer = Writer::create(&path, options).unwrap();
    write(&mut writer, 0..50);
    writer.finish().unwrap();
    let files = Recording::open(&path).unwrap().numbered_files().to_vec();
    (path, files)
}

/// The numbers that are read, and in their place what cannot be read.
fn told(recording: Recording) -> (Vec<u64>, Vec<String>) {
    let (mut numbers, mut errors) = (Vec::new(), Vec::new());
    for read in recording {
        match read {
            Ok(recorded) => numbers.push(recorded.number),
            Err(error) => {
                assert!(error.is_passed(), "{error}");
                errors.push(error.to_string());
            }
        }
    }
    (numbers, errors)
}

#[test]
fn a_file_that_is_gone_is_named_and_those_after_it_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, files) = rotated(folder.path());
    let gone = Info::read(&files[2]).unwrap();
    let (first, last) = (gone.first_number.unwrap(), gone.last_number.unwrap());
    fs::remove_file(&files[2]).unwrap();
    let missing = format!(
        "messages {first} to {last} are missing before {}",
        files[3].display()
    );

    let mut recording = Recording::open(&path).unwrap();
    let faults: Vec<String> = recording
        .missing_files()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(faults, [missing.as_str()]);
    let (numbers, errors) = told(recording);
    assert_eq!(errors, [missing.as_str()]);
    let expected: Vec<u64> = (0..first).chain(last + 1..50).collect();
    assert_eq!(numbers, expected);

    // One that cannot be read is told as well as what it should have had.
    fs::write(&files[2], "lost").unwrap();
    let (numbers, errors) = told(Recording::open(&path).unwrap());
    assert_eq!(numbers, expected);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[0].starts_with(&files[2].display().to_string()) && errors[1] == missing,
        "{errors:?}"
    );

    // A jump tells only what is behind it.
    let mut recording = Recording::open(&path).unwrap();
    recording.seek_number(last + 1).unwrap();
    assert_eq!(told(recording).1, [""; 0]);
    let mut recording = Recording::open(&path).unwrap();
    recording.seek_number(first - 1).unwrap();
    assert_eq!(told(recording).1.len(), 2);
}

#[test]
fn a_jump_into_a_file_that_is_gone_tells_what_is_missing_from_there_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, files) = rotated(folder.path());
    let gone = Info::read(&files[2]).unwrap();
    let (first, last) = (gone.first_number.unwrap(), gone.last_number.unwrap());
    fs::remove_file(&files[2]).unwrap();
    let missing = |first| match files[3].display() {
        file if first == last => format!("message {last} is missing before {file}"),
        file => format!("messages {first} to {last} are missing before {file}"),
    };
    let after: Vec<u64> = (last + 1..50).collect();
    for number in first..=last {
        let mut recording = Recording::open(&path).unwrap();
        recording.seek_number(number).unwrap();
        assert_eq!(told(recording), (after.clone(), vec![missing(number)]));
        let mut recording = Recording::open(&path).unwrap();
        recording.seek_time(time(number)).unwrap();
        assert_eq!(told(recording), (after.clone(), vec![missing(first)]));
    }
    let mut recording = Recording::open(&path).unwrap();
    recording.seek_time(time(last + 2)).unwrap();
    assert_eq!(told(recording), (after[1..].to_vec(), Vec::new()));

    // So is a file that cannot be read, and a first one that is gone.
    fs::write(&files[2], "lost").unwrap();
    let mut recording = Recording::open(&path).unwrap();
    recording.seek_number(last).unwrap();
    assert_eq!(told(recording).1.len(), 2);
    fs::remove_file(&files[0]).unwrap();
    let mut recording = Recording::open(&path).unwrap();
    recording.seek_number(1).unwrap();
    let (numbers, errors) = told(recording);
    assert!(errors[0].starts_with("messages 1 to "), "{errors:?}");
    assert!(numbers[0] > 1 && errors.len() == 3, "{errors:?}");
}

#[test]
fn what_is_missing_behind_a_range_is_of_no_concern_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, files) = rotated(folder.path());
    let gone = Info::read(&files[2]).unwrap();
    let first = gone.first_number.unwrap();
    fs::remove_file(&files[2]).unwrap();
    let play = |range| {
        let playlist = Playlist::new(Recording::open(&path).unwrap(), range, Repeat::ONCE);
        let read: Result<Vec<u64>, SourceError> = playlist.map(|recorded| Ok(recorded?.number)).collect();
        read.map_err(|error| error.to_string())
    };
    assert_eq!(
        play(Range::numbers(first - 2..first)),
        Ok(vec![first - 2, first - 1])
    );
    assert_eq!(play(Range::numbers(first..first)), Ok(vec![]));
    assert!(play(Range::numbers(first - 2..first + 1)).is_err());

    // The message behind the range is damaged, or one part of it is gone.
    let (_other, path) = place();
    let mut writer = Writer::create(&path, WriteOptions::new()).unwrap();
    write(&mut writer, 0..9);
    writer.finish().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(8).position(|bytes| bytes == b"header 5").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let messages = |end| {
        let range = Range::numbers(3..end);
        let playlist = Playlist::new(Recording::open(&path).unwrap(), range, Repeat::ONCE);
        playlist.filter(Result::is_ok).count() as u64
    };
    let faults = |end| {
        let range = Range::numbers(3..end);
        let playlist = Playlist::new(Recording::open(&path).unwrap(), range, Repeat::ONCE);
        playlist.filter(Result::is_err).count()
    };
    assert_eq!((messages(5), faults(5)), (2, 0));
    assert_eq!((messages(7), faults(7)), (3, 1));
}

#[test]
fn a_last_file_without_a_front_and_a_file_of_another_recording_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (path, files) = rotated(folder.path());
    // Killed when it had been made, before anything was written.
    let next = folder.path().join(format!("run.{:06}.fbr", files.len()));
    fs::write(&next, "").unwrap();
    let (numbers, errors) = told(Recording::open(&path).unwrap());
    assert_eq!(numbers, (0..50).collect::<Vec<u64>>());
    assert!(
        errors.len() == 1 && errors[0].starts_with(&next.display().to_string()),
        "{errors:?}"
    );

    let other = tempfile::tempdir().unwrap();
    fs::copy(&rotated(other.path()).1[3], &next).unwrap();
    let (numbers, errors) = told(Recording::open(&path).unwrap());
    assert_eq!(numbers.len(), 50);
    assert!(
        errors.len() == 1 && errors[0].contains("another recording"),
        "{errors:?}"
    );

    // Without a file that can be read there is no recording; the error names the file.
    for file in files.iter().chain([&next]) {
        fs::write(file, "").unwrap();
    }
    let error = Recording::open(&path).unwrap_err();
    assert!(
        matches!(&error, SourceError::Open { path, .. } if *path == files[0]),
        "{error}"
    );
}

#[test]
fn a_torn_file_is_appended_to_only_when_cutting_is_allowed() {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path, WriteOptions::new()).unwrap();
    write(&mut writer, 0..20);
    drop(writer);
    let len = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(len - 100)
        .unwrap();

    let recovered = Reader::open(&path).unwrap().recovered().unwrap();
    assert_eq!(recovered.messages, 19);
    let error = Writer::append(&path, WriteOptions::new(), TornTail::Refuse).unwrap_err();
    assert!(
        matches!(&error, WriteError::Torn { recovered: r, .. } if *r == recovered),
        "{error}"
    );
    assert_eq!(fs::metadata(&path).unwrap().len(), len - 100, "nothing changed");

    let mut writer = Writer::append(&path, WriteOptions::new(), TornTail::Truncate).unwrap();
    write(&mut writer, 19..40);
    assert_eq!(writer.finish().unwrap().messages, 40);
    // Closed, and still open for more, without cutting anything.
    let mut writer = Writer::append(&path, WriteOptions::new(), TornTail::Refuse).unwrap();
    write(&mut writer, 40..60);
    writer.finish().unwrap();
    check(Reader::open(&path).unwrap().map(Result::unwrap), 0..60);
    assert_eq!(Info::read(&path).unwrap(), Info::verify(&path).unwrap());
}

#[test]
fn nobody_else_writes_to_a_file_that_is_recorded_to() {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path, WriteOptions::new()).unwrap();
    write(&mut writer, 0..5);
    writer.flush().unwrap();
    // Half a message is under way: cutting it off would destroy the recording.
    let error = Writer::append(&path, WriteOptions::new(), TornTail::Truncate).unwrap_err();
    assert!(matches!(error, WriteError::Busy { .. }), "{error}");
    check(Reader::open(&path).unwrap().map(Result::unwrap), 0..5);
    write(&mut writer, 5..10);
    writer.finish().unwrap();

    let mut writer = Writer::append(&path, WriteOptions::new(), TornTail::Refuse).unwrap();
    let error = Writer::append(&path, WriteOptions::new(), TornTail::Refuse).unwrap_err();
    assert!(matches!(error, WriteError::Busy { .. }), "{error}");
    write(&mut writer, 10..12);
    writer.finish().unwrap();
    check(Reader::open(&path).unwrap().map(Result::unwrap), 0..12);
}

#[test]
fn a_rotated_recording_begins_only_where_no_file_is_in_its_way() {
    let (folder, path) = place();
    let options = WriteOptions::new().rotation(Rotation::Size(10));
    for in_the_way in ["run.000003.fbr", "run.fbr"] {
        let in_the_way = folder.path().join(in_the_way);
        fs::write(&in_the_way, "precious").unwrap();
        let error = Writer::create(&path, options).unwrap_err();
        assert!(
            matches!(&error, WriteError::Create { path, .. } if *path == in_the_way),
            "{error}"
        );
        fs::remove_file(&in_the_way).unwrap();
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was made"
    );
}

#[test]
fn a_writer_says_until_when_it_has_to_be_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let create =
        |name: &str, sync| Writer::create(folder.path().join(name), WriteOptions::new().sync(sync)).unwrap();
    let interval = Duration::from_secs(3600);
    let mut writer = create("hour.fbr", SyncPolicy::Every(interval));
    assert_eq!(writer.sync_deadline(), None);
    let before = std::time::Instant::now();
    write(&mut writer, 0..2);
    let deadline = writer.sync_deadline().unwrap();
    assert!(deadline >= before + interval && deadline <= std::time::Instant::now() + interval);
    writer.flush().unwrap();
    assert_eq!(
        writer.sync_deadline(),
        Some(deadline),
        "it was flushed, and not put on the disk"
    );
    writer.sync().unwrap();
    assert_eq!(writer.sync_deadline(), None);
    writer.flush().unwrap();
    assert_eq!(writer.sync_deadline(), None, "there is nothing to put there");

    // What is due is written by the writer itself.
    let mut writer = create("now.fbr", SyncPolicy::Every(Duration::ZERO));
    write(&mut writer, 0..1);
    assert_eq!(writer.sync_deadline(), None);
    let reader = Reader::open(folder.path().join("now.fbr")).unwrap();
    check(reader.map(Result::unwrap), 0..1);
}

#[test]
fn many_messages_are_found_fast_by_number_and_time() {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path, WriteOptions::new().sync(SyncPolicy::Never)).unwrap();
    for number in 0..20_000_u64 {
        writer
            .write(&Message::from(number.to_le_bytes().to_vec()), time(number))
            .unwrap();
    }
    // As a crash would leave it.
    drop(writer);
    for closed in [false, true] {
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(reader.info().messages, 20_000);
        assert_eq!(reader.info().closed_cleanly, closed);
        for number in [0, 1, 4_095, 4_096, 4_097, 8_191, 12_345, 16_384, 19_999] {
            reader.seek_number(number).unwrap();
            assert_eq!(&reader.next().unwrap().unwrap().message[0], number.to_le_bytes());
            reader.seek_time(time(number)).unwrap();
            assert_eq!(reader.next().unwrap().unwrap().number, number);
        }
        reader.seek_number(20_000).unwrap();
        assert!(reader.next().is_none());
        if !closed {
            let writer = Writer::append(&path, WriteOptions::new(), TornTail::Refuse).unwrap();
            writer.finish().unwrap();
        }
    }
}

#[tokio::test]
async fn a_recorder_writes_what_it_was_given_in_order() {
    let (_folder, path) = place();
    // Room for few: the recorder has to wait for its thread.
    let queue = QueueOptions::new().messages(3).bytes(50_000);
    let recorder = Recorder::create(&path, WriteOptions::new(), queue).unwrap();
    for number in 0..500 {
        recorder.record(message(number)).await.unwrap();
        let stats = recorder.stats();
        assert!(
            stats.queued <= 3 && (stats.queued_bytes <= 50_000 || stats.queued == 1),
            "{stats:?}"
        );
    }
    let summary = recorder.close().await.unwrap();
    assert_eq!((summary.messages, summary.dropped), (500, 0));
    let mut last = Timestamp::from_nanos(i64::MIN);
    for (number, recorded) in (0..).zip(Reader::open(&path).unwrap()) {
        let recorded = recorded.unwrap();
        assert_eq!((recorded.number, &recorded.message), (number, &message(number)));
        assert!(recorded.time >= last);
        last = recorded.time;
    }
}

#[tokio::test]
async fn dropped_messages_are_counted_and_show_as_gaps() {
    let (_folder, path) = place();
    let queue = QueueOptions::new().messages(2).overflow(Overflow::DropNewest);
    // Each message is put on the disk, so the queue must run over.
    let options = WriteOptions::new().sync(SyncPolicy::EachMessage);
    let recorder = Recorder::create(&path, options, queue).unwrap();
    for number in 0..2_000 {
        recorder.record(message(number)).await.unwrap();
    }
    let dropped = recorder.stats().dropped;
    let summary = recorder.close().await.unwrap();
    assert!(dropped > 0, "the queue ran over");
    assert_eq!(
        (summary.dropped, summary.messages + summary.dropped),
        (dropped, 2_000)
    );
    let info = Info::read(&path).unwrap();
    assert_eq!((info.gaps, info.messages), (dropped, summary.messages));
    for recorded in Reader::open(&path).unwrap().map(Result::unwrap) {
        assert_eq!(
            recorded.message,
            message(recorded.number),
            "numbers tell which are missing"
        );
    }
}

#[tokio::test]
async fn a_dropped_recorder_closes_its_file_in_the_background() {
    let (_folder, path) = place();
    let recorder = Recorder::create(&path, WriteOptions::new(), QueueOptions::new()).unwrap();
    recorder.record(message(0)).await.unwrap();
    drop(recorder);
    let closed = async {
        while !Info::read(&path).is_ok_and(|info| info.closed_cleanly) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed)
        .await
        .unwrap();
    assert_eq!(Info::read(&path).unwrap().messages, 1);
}

fn array(shape: &[usize], byte: u8) -> Message {
    let layout = Layout::new(ElementType::UInt16, Endianness::Little, shape).unwrap();
    let buffer = vec![byte; layout.size()];
    StreamMessage::arrays(
        Header::new("array-1.0"),
        Arrays::new(layout, vec![buffer.into()]).unwrap(),
    )
    .encode()
}

fn record(path: &Path, messages: &[Message]) {
    let mut writer = Writer::create(path, WriteOptions::new()).unwrap();
    for message in messages {
        writer.write(message, Timestamp::default()).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn arrays_are_exported_to_npy_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (run, npy) = (folder.path().join("run.fbr"), folder.path().join("run.npy"));
    let no_data = br#"{"htype":"array-1.0","type":"uint16","shape":[2,3]}"#;
    let wrong = br#"{"htype":"array-1.0","type":"uint16","shape":[2,3]}"#;
    record(
        &run,
        &[
            array(&[2, 3], 1),
            Message::from("no header"),
            Message::from([&no_data[..], b""]),
            Message::from([&wrong[..], b"abc"]),
            Message::from([&br#"{"htype":"raw-1.0"}"#[..], b"abc"]),
            array(&[2, 3], 2),
        ],
    );
    let exported = export_npy(Recording::open(&run).unwrap(), &npy, &Selection::new()).unwrap();
    assert_eq!((exported.arrays, exported.empty), (2, 1));
    assert_eq!((exported.other, exported.unreadable), (2, 1));
    let bytes = fs::read(&npy).unwrap();
    assert!(bytes.ends_with(&[[1_u8; 12], [2; 12]].concat()));
    assert!(String::from_utf8_lossy(&bytes).contains("'<u2', 'fortran_order': False, 'shape': (2, 2, 3)"));
    assert!(matches!(
        export_npy(Recording::open(&run).unwrap(), &npy, &Selection::new()),
        Err(ExportError::Io { .. })
    ));
}

#[test]
fn another_shape_ends_the_export_and_keeps_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let (run, npy) = (folder.path().join("run.fbr"), folder.path().join("run.npy"));
    record(&run, &[array(&[2], 1), array(&[3], 2)]);
    let error = export_npy(Recording::open(&run).unwrap(), &npy, &Selection::new()).unwrap_err();
    assert!(matches!(error, ExportError::Layout { number: 1, .. }), "{error}");
    assert!(String::from_utf8_lossy(&fs::read(&npy).unwrap()).contains("(1, 2)"));
    record(&folder.path().join("none.fbr"), &[]);
    let none = export_npy(
        Recording::open(folder.path().join("none.fbr")).unwrap(),
        folder.path().join("none.npy"),
        &Selection::new(),
    );
    assert!(matches!(none, Err(ExportError::Empty)));
    let layout = Layout::new(ElementType::UInt8, Endianness::Little, &[1]).unwrap();
    assert_eq!(
        NpyWriter::create(folder.path().join("empty.npy"), layout)
            .unwrap()
            .finish()
            .unwrap(),
        0
    );
}

fn image(frame: u64, encoding: &str) -> Message {
    let array = Array::from_elements(&[3, 4], (0..12).map(|n| n + frame as u16).collect()).unwrap();
    StreamMessage::from(DetectorImage::new(1, frame, &array, encoding.parse().unwrap())).encode()
}

#[test]
fn images_of_detectors_and_channels_are_exported() {
    let folder = tempfile::tempdir().unwrap();
    let (run, npy) = (folder.path().join("run.fbr"), folder.path().join("run.npy"));
    record(&run, &[image(0, "bs16-lz4<"), image(1, "lz4<"), image(2, "<")]);
    let mut messages = Recording::open(&run).unwrap();
    let exported = export_npy(&mut messages, &npy, &Selection::new()).unwrap();
    assert_eq!(
        (exported.arrays, exported.as_they_came, exported.other),
        (3, 0, 0)
    );
    let expected: Vec<u8> = (0..3_u16)
        .flat_map(|frame| (0..12_u16).flat_map(move |n| (n + frame).to_le_bytes()))
        .collect();
    assert!(fs::read(&npy).unwrap().ends_with(&expected));

    // A range of them, by a playlist.
    let range = Playlist::new(Recording::open(&run).unwrap(), Range::numbers(1..2), Repeat::ONCE);
    let one = folder.path().join("one.npy");
    assert_eq!(export_npy(range, &one, &Selection::new()).unwrap().arrays, 1);
    assert!(fs::read(&one).unwrap().ends_with(&expected[24..48]));
}

#[cfg(feature = "hdf5")]
#[test]
fn packed_images_become_chunks_as_they_came() {
    let folder = tempfile::tempdir().unwrap();
    let (run, h5) = (folder.path().join("run.fbr"), folder.path().join("run.h5"));
    record(
        &run,
        &[image(0, "bs16-lz4<"), image(1, "lz4<"), image(2, "bs16-lz4<")],
    );
    let mut messages = Recording::open(&run).unwrap();
    let exported = flexbond_stream::recording::export_hdf5(&mut messages, &h5, &Selection::new()).unwrap();
    assert_eq!((exported.arrays, exported.as_they_came), (3, 2));
}

#[cfg(feature = "hdf5")]
#[test]
fn a_packed_image_whose_blocks_lie_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (run, h5) = (folder.path().join("run.fbr"), folder.path().join("run.h5"));
    // The length of the data, in front, stays right. Behind the header is the length of the first block.
    let blob = |frame, change: &dyn Fn(&mut Vec<u8>)| {
        let message = image(frame, "bs16-lz4<");
        let mut parts: Vec<Vec<u8>> = message.iter().map(|part| part.to_vec()).collect();
        change(&mut parts[2]);
        Message::from_iter(parts)
    };
    record(
        &run,
        &[
            blob(0, &|blob| blob[12] = 0x40),
            blob(1, &|blob| blob.truncate(blob.len() - 1)),
            image(2, "bs16-lz4<"),
            blob(3, &|blob| blob.push(0)),
            blob(4, &|blob| blob[16] ^= 0x70),
            image(5, "bs16-lz4<"),
        ],
    );
    let mut messages = Recording::open(&run).unwrap();
    let exported = flexbond_stream::recording::export_hdf5(&mut messages, &h5, &Selection::new()).unwrap();
    assert_eq!(
        (exported.arrays, exported.as_they_came, exported.unreadable),
        (2, 2, 4)
    );
    let file = rust_hdf5::H5File::open(&h5).unwrap();
    let numbers = file.dataset("entry/data/number").unwrap();
    assert_eq!(numbers.read_raw::<u64>().unwrap(), [2, 5]);
}

#[cfg(feature = "hdf5")]
#[test]
fn what_a_detector_says_of_itself_is_in_the_file() {
    use flexbond_stream::detector::{Calibration, DetectorHeader};
    use flexbond_stream::stream2;
    use rust_hdf5::H5File;

    let folder = tempfile::tempdir().unwrap();
    let (run, h5) = (folder.path().join("run.fbr"), folder.path().join("run.h5"));
    let mask = Array::from_elements(&[3, 4], (0..12_u32).collect()).unwrap();
    let flat = Array::from_elements(&[3, 4], vec![1.5_f32; 12]).unwrap();
    let table = Array::from_elements(&[2], vec![0.5_f32, 2.0]).unwrap();
    let header = |wavelength: f64| {
        let settings = serde_json::json!({
            "wavelength": wavelength, "nimages": 2, "auto_summation": true, "description": "Dectris Eiger",
            "nested": { "a": [1] }, "odd/name": 1, "nothing": null,
            "largest": u64::MAX, "lowest": i64::MIN,
        });
        let settings = settings.as_object().unwrap().clone();
        let header = DetectorHeader::all(7, settings, Calibration::new(&flat, &mask, &table));
        StreamMessage::from(header).encode()
    };
    record(
        &run,
        &[
            header(1.25),
            image(0, "bs16-lz4<"),
            header(9.0),
            image(1, "bs16-lz4<"),
        ],
    );
    flexbond_stream::recording::export_hdf5(Recording::open(&run).unwrap(), &h5, &Selection::new()).unwrap();
    let file = H5File::open(&h5).unwrap();
    let dataset = |name: &str| {
        file.dataset(&format!("entry/instrument/detector/{name}"))
            .unwrap()
    };
    assert_eq!(
        dataset("wavelength").read_raw::<f64>().unwrap(),
        [1.25],
        "the first series' own"
    );
    assert_eq!(dataset("nimages").read_raw::<i64>().unwrap(), [2]);
    assert_eq!(dataset("largest").read_raw::<u64>().unwrap(), [u64::MAX]);
    assert_eq!(dataset("lowest").read_raw::<i64>().unwrap(), [i64::MIN]);
    assert_eq!(
        dataset("description").read_vlen_strings().unwrap(),
        ["Dectris Eiger"]
    );
    assert_eq!(dataset("nested").read_vlen_strings().unwrap(), [r#"{"a":[1]}"#]);
    assert_eq!(dataset("pixel_mask").shape(), [3, 4]);
    assert_eq!(
        dataset("pixel_mask").read_raw::<u32>().unwrap(),
        (0..12).collect::<Vec<u32>>()
    );
    assert_eq!(dataset("flatfield").read_raw::<f32>().unwrap(), [1.5; 12]);
    assert_eq!(dataset("countrate_table").read_raw::<f32>().unwrap(), [0.5, 2.0]);
    assert_eq!(file.dataset("entry/data/data").unwrap().shape(), [2, 3, 4]);

    // Stream V2 says it in its start message.
    let mut start = stream2::Start::default();
    start.beam_center_x = Some(12.5);
    start.number_of_images = Some(1);
    let start = stream2::Message::new(stream2::Event::Start(Box::new(start)));
    let (run, h5) = (folder.path().join("v2.fbr"), folder.path().join("v2.h5"));
    record(&run, &[Message::from(start.encode()), image(0, "<")]);
    flexbond_stream::recording::export_hdf5(Recording::open(&run).unwrap(), &h5, &Selection::new()).unwrap();
    let file = H5File::open(&h5).unwrap();
    let center = file.dataset("entry/instrument/detector/beam_center_x").unwrap();
    assert_eq!(center.read_raw::<f64>().unwrap(), [12.5]);
}

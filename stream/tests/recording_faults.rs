//! What mflow's folders do wrong: an order that breaks past 999,999 (fault 11), and a replay without timing (fault 14).
#![cfg(feature = "recording")]

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use flexbond_stream::recording::{
    Folder, FolderError, FolderWriteError, FolderWriter, Missing, Pace, Player, Playlist, Range, Recording,
    Repeat, Timestamp, WriteOptions, Writer,
};
use flexbond_transport::Message;

fn part(folder: &Path, name: &str, bytes: &str) {
    fs::write(folder.join(name), bytes).unwrap();
}

#[test]
fn fault_11_order_is_by_number_past_999_999() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    // By name, 1000000 comes before 999998.
    for number in [1_000_001_u64, 999_998, 1_000_000, 999_999] {
        part(folder, &format!("{number:06}_000.raw"), &number.to_string());
        part(folder, &format!("{number:06}_001.raw"), "body");
    }
    let mut reader = Folder::open(folder).unwrap();
    assert!(matches!(
        reader.next(),
        Some(Err(FolderError::MissingMessages {
            first: 0,
            last: 999_997
        }))
    ));
    let read: Vec<_> = reader.map(Result::unwrap).collect();
    let numbers: Vec<u64> = read.iter().map(|recorded| recorded.number).collect();
    assert_eq!(numbers, [999_998, 999_999, 1_000_000, 1_000_001]);
    for recorded in read {
        assert_eq!(
            recorded.message,
            Message::from([recorded.number.to_string().as_str(), "body"])
        );
    }
    // Writing goes on with as many digits as are needed.
    let mut writer = FolderWriter::append(folder).unwrap();
    assert_eq!(writer.write(&Message::from("next")).unwrap(), 1_000_002);
    assert_eq!(fs::read(folder.join("1000002_000.raw")).unwrap(), b"next");
}

#[test]
fn what_is_missing_is_named_or_skipped_and_counted() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    for name in [
        "000000_000.raw",
        "000000_001.raw",
        "000001_001.raw",
        "000002_000.raw",
        "000002_002.raw",
    ] {
        part(folder, name, name);
    }
    part(folder, "000005_000.raw", "after a gap");
    part(folder, "6_0.raw", "another width");
    part(folder, "notes.txt", "foreign");
    part(folder, "000007_000.raw.unfinished", "a crash");
    let mut reader = Folder::open(folder).unwrap();
    let mut seen = Vec::new();
    while let Some(next) = reader.next_message().transpose() {
        seen.push(match next {
            Ok(recorded) => recorded.number.to_string(),
            Err(error) => error.to_string(),
        });
    }
    assert_eq!(
        seen,
        [
            "0",
            "message 1 has no part 0 (000001_000.raw is missing)",
            "message 2 has no part 1 (000002_001.raw is missing)",
            "messages 3 to 4 are missing",
            "5",
            "6",
        ]
    );
    let report = reader.report().clone();
    assert_eq!(
        (
            report.missing_messages,
            report.incomplete_messages,
            report.unusual
        ),
        (2, 2, 1)
    );
    let mut foreign = report.foreign_names;
    foreign.sort();
    assert_eq!(
        (report.foreign, foreign),
        (
            2,
            vec!["000007_000.raw.unfinished".to_owned(), "notes.txt".to_owned()]
        )
    );

    let skipping = Folder::open(folder).unwrap().missing(Missing::Skip);
    let numbers: Vec<u64> = skipping.map(|recorded| recorded.unwrap().number).collect();
    assert_eq!(numbers, [0, 5, 6]);
}

#[test]
fn a_part_that_cannot_be_read_costs_its_message_only() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    part(folder, "000000_000.raw", "first");
    // Opened as a file is, and not read as one.
    fs::create_dir(folder.join("000001_000.raw")).unwrap();
    part(folder, "000002_000.raw", "last");
    let mut recording = Recording::open(folder).unwrap();
    assert_eq!(recording.next().unwrap().unwrap().number, 0);
    let error = recording.next().unwrap().unwrap_err();
    assert!(
        error.is_passed() && error.to_string().contains("000001_000.raw"),
        "{error}"
    );
    assert_eq!(recording.next().unwrap().unwrap().number, 2);
    assert!(recording.next().is_none());
}

#[test]
fn folders_round_trip_and_parts_can_be_left_out() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("new/folder");
    let messages = [
        Message::from(["h", "", "body"]),
        Message::from("one"),
        Message::from(["", ""]),
    ];
    let mut writer = FolderWriter::create(&path).unwrap();
    for message in &messages {
        writer.write(message).unwrap();
    }
    assert_eq!(fs::read(path.join("000000_002.raw")).unwrap(), b"body");
    let read: Vec<Message> = Folder::open(&path)
        .unwrap()
        .map(|recorded| recorded.unwrap().into())
        .collect();
    assert_eq!(read, messages);
    assert!(matches!(
        FolderWriter::create(&path),
        Err(FolderWriteError::NotEmpty { parts: 6, .. })
    ));

    let headers = temp.path().join("headers");
    let mut writer = FolderWriter::create(&headers).unwrap().skip_parts_from(1);
    for message in &messages {
        writer.write(message).unwrap();
    }
    let read: Vec<Message> = Folder::open(&headers)
        .unwrap()
        .map(|recorded| recorded.unwrap().into())
        .collect();
    assert_eq!(
        read,
        [Message::from("h"), Message::from("one"), Message::from("")]
    );
    let mut limited = Folder::open(&path).unwrap().max_message_size(3);
    assert!(matches!(
        limited.next(),
        Some(Err(FolderError::TooLong { message: 0, limit: 3 }))
    ));
    assert_eq!(limited.next().unwrap().unwrap().number, 1);
}

#[test]
fn who_writes_to_the_same_folder_is_not_overwritten() {
    let temp = tempfile::tempdir().unwrap();
    let mut ours = FolderWriter::create(temp.path()).unwrap();
    let mut theirs = FolderWriter::create(temp.path()).unwrap();
    ours.write(&Message::from(["ours", "1", "2"])).unwrap();
    ours.write(&Message::from("ours")).unwrap();
    // A message with more parts, which would take the others' place in part, and one of a single part.
    for message in [Message::from(["theirs", "", "", "3"]), Message::from("theirs")] {
        let error = theirs.write(&message).unwrap_err();
        assert!(
            matches!(
                error,
                FolderWriteError::Write {
                    message: 0,
                    kept: 0,
                    ..
                }
            ),
            "{error}"
        );
    }
    let read: Vec<Message> = Folder::open(temp.path())
        .unwrap()
        .map(|recorded| recorded.unwrap().into())
        .collect();
    assert_eq!(read, [Message::from(["ours", "1", "2"]), Message::from("ours")]);
    assert_eq!(
        fs::read_dir(temp.path()).unwrap().count(),
        4,
        "nothing is left of the others"
    );

    // What a crash has left of a first part is in nobody's way.
    part(temp.path(), "000002_000.raw.unfinished", "half");
    assert_eq!(ours.write(&Message::from("whole")).unwrap(), 2);
    assert_eq!(fs::read(temp.path().join("000002_000.raw")).unwrap(), b"whole");
}

/// A recording of messages 100 ms apart.
fn recording(folder: &Path, messages: u64) -> Recording {
    let path = folder.join("run.fbr");
    let mut writer = Writer::create(&path, WriteOptions::new()).unwrap();
    for number in 0..messages {
        writer
            .write(&Message::from(number.to_string()), at(number))
            .unwrap();
    }
    writer.finish().unwrap();
    Recording::open(&path).unwrap()
}

fn at(number: u64) -> Timestamp {
    Timestamp::from_nanos(7_000_000_000 + number as i64 * 100_000_000)
}

/// Plays everything, and says when (in ms) each message was handed out.
async fn play(playlist: Playlist, pace: Pace) -> Vec<(u64, u64)> {
    let mut player = Player::start(playlist, pace).unwrap();
    let mut played = Vec::new();
    let mut start = None;
    while let Some(recorded) = player.next().await.unwrap() {
        let start = *start.get_or_insert_with(tokio::time::Instant::now);
        played.push((recorded.number, start.elapsed().as_millis() as u64));
    }
    assert_eq!(player.played().messages, played.len() as u64);
    played
}

#[tokio::test(start_paused = true)]
async fn fault_14_replay_has_the_original_timing_a_rate_and_loops() {
    let temp = tempfile::tempdir().unwrap();
    let original = play(
        Playlist::new(recording(temp.path(), 4), Range::all(), Repeat::ONCE),
        Pace::default(),
    )
    .await;
    assert_eq!(original, [(0, 0), (1, 100), (2, 200), (3, 300)]);

    let open = || Recording::open(temp.path().join("run.fbr")).unwrap();
    let doubled = play(
        Playlist::new(open(), Range::all(), Repeat::ONCE),
        Pace::Original(2.0),
    )
    .await;
    assert_eq!(doubled, [(0, 0), (1, 50), (2, 100), (3, 150)]);

    let twice = Repeat::Times(NonZeroU64::new(2).unwrap());
    let rate = play(
        Playlist::new(open(), Range::numbers(1..3), twice),
        Pace::Rate(4.0),
    )
    .await;
    assert_eq!(rate, [(1, 0), (2, 250), (1, 500), (2, 750)]);

    let fast = play(
        Playlist::new(open(), Range::times(at(1)..at(3)), twice),
        Pace::Unpaced,
    )
    .await;
    assert_eq!(fast, [(1, 0), (2, 0), (1, 0), (2, 0)]);

    let nothing = play(
        Playlist::new(open(), Range::numbers(9..12), Repeat::Forever),
        Pace::Unpaced,
    )
    .await;
    assert_eq!(nothing, [], "a loop over nothing ends");
}

#[test]
fn a_range_of_times_takes_what_is_in_it_where_the_times_of_a_folder_go_back() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    for (number, seconds) in [10, 30, 20, 40, 22].into_iter().enumerate() {
        let name = format!("{number:06}_000.raw");
        part(folder, &name, "");
        let file = fs::File::options().write(true).open(folder.join(name)).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
    }
    let seconds = |seconds: i64| Timestamp::from_nanos(seconds * 1_000_000_000);
    let range = Range::times(seconds(20)..seconds(25));
    let playlist = Playlist::new(Recording::open(folder).unwrap(), range, Repeat::ONCE);
    let numbers: Vec<u64> = playlist.map(|recorded| recorded.unwrap().number).collect();
    assert_eq!(numbers, [2, 4]);
}

#[test]
fn a_range_without_a_message_is_looked_for_once() {
    let temp = tempfile::tempdir().unwrap();
    let for_ages = Repeat::Times(NonZeroU64::MAX);
    let mut playlist = Playlist::new(recording(temp.path(), 3), Range::numbers(9..12), for_ages);
    assert!(playlist.next_message().unwrap().is_none());
    assert_eq!(playlist.round(), 0);
}

#[test]
fn numbers_near_the_last_one_there_is_are_counted() {
    let temp = tempfile::tempdir().unwrap();
    part(temp.path(), &format!("{}_000.raw", u64::MAX), "last");
    let mut reader = Folder::open(temp.path()).unwrap();
    for _ in 0..2 {
        assert!(matches!(
            reader.next(),
            Some(Err(FolderError::MissingMessages { first: 0, .. }))
        ));
        assert_eq!(reader.next().unwrap().unwrap().number, u64::MAX);
        assert!(reader.next().is_none());
        reader.rewind();
    }
    assert_eq!(reader.report().missing_messages, u64::MAX);
}

#[tokio::test(start_paused = true)]
async fn fault_14_a_loop_goes_on_until_it_is_stopped_and_can_be_paused() {
    let temp = tempfile::tempdir().unwrap();
    let playlist = Playlist::new(recording(temp.path(), 3), Range::all(), Repeat::Forever);
    let mut player = Player::start(playlist, Pace::default()).unwrap();
    let control = player.control();
    for n in 0..500 {
        assert_eq!(player.next().await.unwrap().unwrap().number, n % 3);
    }
    assert_eq!(player.played().rounds, 167);
    assert_eq!(player.next().await.unwrap().unwrap().number, 2);
    let start = tokio::time::Instant::now();
    control.pause();
    {
        // Nothing while it is paused; and a dropped wait loses nothing.
        let waited = tokio::time::timeout(Duration::from_secs(5), player.next()).await;
        assert!(waited.is_err());
    }
    tokio::spawn({
        let control = control.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            control.resume();
        }
    });
    assert_eq!(player.next().await.unwrap().unwrap().number, 0);
    assert!(start.elapsed() >= Duration::from_secs(7), "{:?}", start.elapsed());
    control.stop();
    assert!(player.next().await.unwrap().is_none());
    control.resume();
    assert!(
        player.next().await.unwrap().is_none(),
        "what was stopped stays so"
    );
}

#[cfg(feature = "inproc")]
#[tokio::test]
async fn a_player_sends_everything_to_a_stream() {
    use flexbond_stream::{Attach, ConnectOptions, Mode, Stream};

    let temp = tempfile::tempdir().unwrap();
    let recording = recording(temp.path(), 50);
    let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
    let mut sender = Stream::connect("inproc://recording-player", options)
        .await
        .unwrap();
    let mut receiver = Stream::connect("inproc://recording-player", ConnectOptions::new())
        .await
        .unwrap();
    let receive = tokio::spawn(async move {
        for number in 0..50_u64 {
            assert_eq!(
                receiver.receive_raw().await.unwrap(),
                Message::from(number.to_string())
            );
        }
    });
    let mut player = Player::start(
        Playlist::new(recording, Range::all(), Repeat::ONCE),
        Pace::Unpaced,
    )
    .unwrap();
    assert_eq!(player.send_to(&mut sender).await.unwrap().messages, 50);
    receive.await.unwrap();
}

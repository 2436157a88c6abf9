//! What recordings promise, held against every place where they can be cut, damaged or stopped.

use std::io;

use flexbond_transport::Message;
use proptest::prelude::*;

use super::batch::Batch;
use super::encoder::Encoder;
use super::file_writer::FileWriter;
use super::head::{Head, Kind};
use super::storage::{Reach, ReadAt, Storage};
use super::survey::Survey;
use super::{Compression, Info, OpenError, ReadError, Reader, Recorded, Timestamp};

const ID: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

fn time(number: u64) -> Timestamp {
    Timestamp::from_nanos(1_000 * (number as i64 / 2) + 5)
}

/// Messages of all shapes: no part, empty parts, short and long ones.
fn message(number: u64) -> Message {
    let part = |len: usize| {
        (0..len)
            .map(|at| (at as u64 * 7 + number) as u8)
            .collect::<Vec<u8>>()
    };
    match number % 5 {
        0 => Message::from(part(3)),
        1 => Message::from([part(0), part(70), part(0)]),
        2 => Message::new(),
        3 => Message::from([part(1), part(2)]),
        _ => Message::from(part(0)),
    }
}

fn encoder(batch: &mut Batch) -> Encoder {
    Encoder::new(ID, Timestamp::from_nanos(1), Compression::None, batch)
        .unwrap()
        .chunk_messages(4)
}

/// A recording of `count` messages, and where it ends after each of them.
fn recording(count: u64, close: bool) -> (Vec<u8>, Vec<u64>) {
    let mut batch = Batch::new();
    let mut encoder = encoder(&mut batch);
    let mut ends = Vec::new();
    for number in 0..count {
        let before = encoder.offset();
        assert_eq!(
            encoder.encode(&message(number), time(number), &mut batch),
            Ok(number)
        );
        // An index may have followed.
        ends.push(before + 64 + message(number).size() as u64 + 4 * message(number).len() as u64);
    }
    if close {
        encoder.finish(&mut batch);
    }
    assert_eq!(batch.len(), encoder.offset());
    (batch.to_vec(), ends)
}

fn expected(count: u64) -> Vec<Recorded> {
    let recorded = |number| Recorded {
        number,
        time: time(number),
        message: message(number),
        lacks: None,
    };
    (0..count).map(recorded).collect()
}

fn read_all(bytes: &[u8]) -> Vec<Recorded> {
    Reader::new(bytes.to_vec()).unwrap().map(Result::unwrap).collect()
}

/// Storage that is full after so many bytes.
#[derive(Debug)]
struct Disk {
    bytes: Vec<u8>,
    room: usize,
}

impl ReadAt for Disk {
    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.bytes.read_at(buf, offset)
    }
}

impl Storage for Disk {
    fn write(&mut self, batch: &Batch, _: Reach) -> io::Result<()> {
        let room = self.room - self.bytes.len();
        self.bytes.extend(batch.to_vec().into_iter().take(room));
        match batch.len() as usize > room {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.bytes.truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_recording_reads_as_it_was_written() {
    for count in [0, 1, 3, 4, 5, 21] {
        let (bytes, _) = recording(count, true);
        assert_eq!(read_all(&bytes), expected(count));
        let reader = Reader::new(bytes.clone()).unwrap();
        let (info, thorough) = (reader.info(), Info::verify_source(&bytes).unwrap());
        assert_eq!(info, thorough);
        assert_eq!(
            (info.messages, info.closed_cleanly, info.gaps, info.damaged),
            (count, true, 0, 0)
        );
        assert_eq!(info.last_number, count.checked_sub(1));
        assert_eq!(info.last_time, count.checked_sub(1).map(time));
        assert_eq!(
            info.bytes,
            (0..count)
                .map(|number| message(number).size() as u64)
                .sum::<u64>()
        );
        assert_eq!((reader.recovered(), info.bytes_lost), (None, 0));
    }
}

#[test]
fn cut_at_every_byte_it_reads_up_to_the_last_whole_message() {
    let (bytes, ends) = recording(11, true);
    for cut in 0..bytes.len() {
        let part = bytes[..cut].to_vec();
        if cut < 64 {
            let len = cut as u64;
            assert!(matches!(Reader::new(part), Err(OpenError::TooShort { len: l }) if l == len));
            continue;
        }
        let whole = ends.iter().filter(|&&end| end <= cut as u64).count() as u64;
        let reader = Reader::new(part.clone()).unwrap();
        let recovered = reader.recovered().unwrap();
        assert_eq!(recovered.messages, whole, "cut at {cut}");
        assert_eq!(recovered.end + recovered.bytes_lost, cut as u64);
        assert!(whole == 0 || recovered.end >= ends[whole as usize - 1]);
        assert_eq!(reader.info().damaged, 0);
        let read: Vec<_> = reader.map(Result::unwrap).collect();
        assert_eq!(read, expected(whole), "cut at {cut}");
    }
}

#[test]
fn appended_to_after_every_cut_it_is_as_if_nothing_had_happened() {
    let (bytes, _) = recording(11, true);
    for cut in 64..=bytes.len() {
        let disk = Disk {
            bytes: bytes[..cut].to_vec(),
            room: usize::MAX,
        };
        let survey = Survey::of(&disk).unwrap();
        let whole = survey.totals.messages;
        let mut writer = FileWriter::resume(disk, survey).unwrap();
        for number in whole..20 {
            assert_eq!(
                writer.push(&message(number), time(number)),
                Ok(number),
                "cut at {cut}"
            );
        }
        writer.finish().unwrap();
        let bytes = writer.into_storage().bytes;
        assert_eq!(read_all(&bytes), expected(20), "cut at {cut}");
        let info = Reader::new(bytes.clone()).unwrap().info();
        assert_eq!(info, Info::verify_source(&bytes).unwrap(), "cut at {cut}");
        assert!(info.closed_cleanly && info.messages == 20);
        let mut reader = Reader::new(bytes).unwrap();
        for number in [0, 3, 10, 11, 19, 20] {
            reader.seek_number(number).unwrap();
            let next = reader.next_message().unwrap().map(|recorded| recorded.number);
            assert_eq!(next, (number < 20).then_some(number), "cut at {cut}");
        }
    }
}

#[test]
fn a_disk_that_is_full_at_any_byte_keeps_every_whole_message() {
    let (bytes, ends) = recording(11, true);
    for room in 64..bytes.len() {
        let mut batch = Batch::new();
        let encoder = encoder(&mut batch);
        let disk = Disk {
            bytes: Vec::new(),
            room,
        };
        let mut writer = FileWriter::begin(disk, encoder, batch).unwrap();
        let mut stopped = None;
        for number in 0..11 {
            writer.push(&message(number), time(number)).unwrap();
            // Groups of different lengths.
            if number % 3 == 0
                && let Err(error) = writer.flush()
            {
                stopped = Some((error, number + 1));
                break;
            }
        }
        let (stopped, pushed) = stopped.unwrap_or_else(|| (writer.finish().unwrap_err(), 11));
        let whole = ends.iter().filter(|&&end| end <= room as u64).count() as u64;
        assert_eq!(
            (stopped.kept, stopped.lost),
            (whole.min(pushed), pushed - whole.min(pushed)),
            "room {room}"
        );
        let bytes = writer.into_storage().bytes;
        let reader = Reader::new(bytes).unwrap();
        assert_eq!(reader.info().bytes_lost, 0, "room {room}");
        assert_eq!(reader.info().closed_cleanly, stopped.closed);
        assert_eq!(
            reader.map(Result::unwrap).collect::<Vec<_>>(),
            expected(stopped.kept)
        );
    }
}

#[test]
fn every_flipped_bit_is_seen_and_costs_one_message_at_most() {
    let (bytes, _) = recording(5, true);
    let all = expected(5);
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let info = match Info::verify_source(&bytes) {
            Ok(info) => info,
            // Only a damaged magic or version would make it something else, and those are repaired by what follows.
            Err(error) => panic!("bit {bit}: {error}"),
        };
        assert!(
            !info.closed_cleanly || info.damaged > 0,
            "bit {bit} was not seen: {info:?}"
        );
        let places: Vec<u64> = info.damages.iter().map(|damage| damage.offset).collect();
        assert!(
            places.len() as u64 == info.damaged && places.iter().all(|&offset| offset <= bit as u64 / 8),
            "bit {bit}: {places:?}"
        );
        let mut read = 0;
        for recorded in Reader::new(bytes).unwrap() {
            match recorded {
                Ok(recorded) => {
                    assert_eq!(recorded, all[recorded.number as usize], "bit {bit}");
                    read += 1;
                }
                Err(ReadError::Damaged { offset, end, .. }) => {
                    assert!(offset <= bit as u64 / 8 && bit as u64 / 8 < end, "bit {bit}");
                }
                Err(error) => panic!("bit {bit}: {error}"),
            }
        }
        assert!(read >= 4, "bit {bit}: {read} messages");
        assert!(info.messages >= 4, "bit {bit}: {info:?}");
    }
}

#[test]
fn seeking_finds_the_first_message_with_and_without_indexes() {
    let (closed, ends) = recording(30, true);
    let crashed = closed[..ends[28] as usize].to_vec();
    let mut no_index = crashed.clone();
    // Every index block becomes unreadable, the messages stay.
    for chunk in Survey::of(&closed).unwrap().chunks {
        if (chunk.index as usize) < no_index.len() {
            no_index[chunk.index as usize + 70] ^= 1;
        }
    }
    for (bytes, count) in [(closed, 30), (crashed, 29), (no_index, 29)] {
        let mut reader = Reader::new(bytes).unwrap();
        assert_eq!(reader.info().messages, count);
        for number in 0..count + 2 {
            reader.seek_number(number).unwrap();
            let next = reader.next().map(|recorded| recorded.unwrap().number);
            assert_eq!(next, (number < count).then_some(number));
            // Two messages each arrive at one time.
            for nanos in [-1, 0] {
                let sought = Timestamp::from_nanos(time(number).as_nanos() + nanos);
                reader.seek_time(sought).unwrap();
                let next = reader.next().map(|recorded| recorded.unwrap().number);
                assert_eq!(next, (number / 2 * 2 < count).then_some(number / 2 * 2));
            }
        }
        reader.rewind();
        assert_eq!(reader.next().unwrap().unwrap().number, 0);
    }
}

#[test]
fn seeking_a_message_that_is_damaged_tells_it_and_the_next_one_is_found_without() {
    let (closed, ends) = recording(30, true);
    let crashed = closed[..ends[28] as usize].to_vec();
    let mut no_index = crashed.clone();
    for chunk in Survey::of(&closed).unwrap().chunks {
        if (chunk.index as usize) < no_index.len() {
            no_index[chunk.index as usize + 70] ^= 1;
        }
    }
    for (what, whole) in [("closed", closed), ("crashed", crashed), ("no index", no_index)] {
        // Behind the last one is the end of a file that was not closed.
        for number in 0..28 {
            let contents = message(number).size() as u64 + 4 * message(number).len() as u64;
            let start = ends[number as usize] - contents - 64;
            // In its head, and in what it holds.
            for at in [20, 64].into_iter().take(if contents > 0 { 2 } else { 1 }) {
                let mut bytes = whole.clone();
                bytes[start as usize + at] ^= 1;
                let mut reader = Reader::new(bytes).unwrap();
                let what = format!("{what}: message {number}, byte {at}");
                let damaged = |read: Option<Result<Recorded, ReadError>>| match read {
                    Some(Err(ReadError::Damaged { offset, .. })) => offset == start,
                    _ => false,
                };
                reader.seek_number(number).unwrap();
                assert!(damaged(reader.next()), "{what}");
                assert_eq!(reader.next().unwrap().unwrap().number, number + 1, "{what}");
                reader.seek_number(number + 1).unwrap();
                assert_eq!(reader.next().unwrap().unwrap().number, number + 1, "{what}");
                // Two messages each arrive at one time.
                reader.seek_time(time(number)).unwrap();
                if number % 2 == 1 {
                    assert_eq!(reader.next().unwrap().unwrap().number, number - 1, "{what}");
                }
                assert!(damaged(reader.next()), "{what}");
            }
        }
    }
}

#[test]
fn numbers_left_out_are_gaps_and_time_never_goes_back() {
    let mut batch = Batch::new();
    let mut encoder = encoder(&mut batch);
    for (skip, nanos) in [(2, 50), (0, 40), (3, 60)] {
        encoder.skip(skip);
        encoder
            .encode(&message(0), Timestamp::from_nanos(nanos), &mut batch)
            .unwrap();
    }
    encoder.skip(1);
    encoder.finish(&mut batch);
    let bytes = batch.to_vec();
    let read: Vec<(u64, i64)> = read_all(&bytes)
        .iter()
        .map(|recorded| (recorded.number, recorded.time.as_nanos()))
        .collect();
    assert_eq!(read, [(2, 50), (3, 50), (7, 60)]);
    let info = Reader::new(bytes).unwrap().info();
    assert_eq!(
        (info.messages, info.gaps, info.first_number, info.last_number),
        (3, 6, Some(2), Some(7))
    );
}

#[test]
fn a_recording_inside_a_message_is_not_taken_for_this_one() {
    let (inner, _) = recording(5, true);
    let mut batch = Batch::new();
    let mut encoder = Encoder::new(!ID, Timestamp::default(), Compression::None, &mut batch).unwrap();
    for number in 0..3 {
        encoder
            .encode(&Message::from(inner.clone()), time(number), &mut batch)
            .unwrap();
    }
    let bytes = batch.to_vec();
    // Cut within the last message, after whole blocks of the inner recording.
    let info = Reader::new(bytes[..bytes.len() - 5].to_vec()).unwrap().info();
    assert_eq!((info.messages, info.damaged), (2, 0));
}

#[test]
fn a_front_that_is_lost_with_the_first_messages_costs_only_those() {
    let (closed, ends) = recording(300, true);
    let open = closed[..ends[299] as usize].to_vec();
    for mut bytes in [closed, open] {
        for lost in [65, 1_000, 4_096] {
            bytes[..lost].fill(0);
            let start = |number: u64| {
                let message = message(number);
                ends[number as usize] - (64 + message.size() + 4 * message.len()) as u64
            };
            let first = (0..300).filter(|&number| start(number) < lost as u64).count();
            let mut errors = 0;
            let read: Vec<Recorded> = Reader::new(bytes.clone())
                .unwrap()
                .filter_map(|read| read.map_err(|_| errors += 1).ok())
                .collect();
            assert_eq!((read.len(), errors), (300 - first, 1), "{lost} bytes");
            assert_eq!(read, expected(300)[first..], "{lost} bytes");
        }
    }
    // Another format that holds a recording is none.
    let inside = [&[7; 3_000][..], b"x", &recording(5, true).0].concat();
    assert!(matches!(Reader::new(inside), Err(OpenError::NotARecording)));
    assert!(matches!(Reader::new(vec![0; 3_000]), Err(OpenError::Damaged)));
}

#[test]
fn lengths_that_lie_allocate_nothing_and_limits_hold() {
    // Four billion parts of no bytes, in a message whose checksum is right.
    let stored = vec![0; 600_000];
    for (compression, count, plain) in [
        (Compression::Lz4, u32::MAX, 0),
        (Compression::Zstd, u32::MAX, 0),
        (Compression::Zstd, 1, u64::MAX),
        (Compression::Zstd, u32::MAX, u64::MAX - 1),
        (Compression::Lz4, 1, 4 << 30),
    ] {
        let mut batch = Batch::new();
        let _ = encoder(&mut batch);
        let head = Head {
            kind: Kind::Message,
            compression,
            count,
            checksum: super::checksum::of(&stored),
            stored: stored.len() as u64,
            plain,
            number: 0,
            time: time(0),
            index: 0,
            salt: ID as u32,
        };
        let bytes = [batch.to_vec(), head.encode().to_vec(), stored.clone()].concat();
        let read = Reader::new(bytes).unwrap().next().unwrap();
        assert!(
            matches!(
                read,
                Err(ReadError::TooLong { .. } | ReadError::Damaged { .. } | ReadError::Unsupported { .. })
            ),
            "{count} parts, {plain} bytes: {read:?}"
        );
        if count == u32::MAX && plain == 0 {
            assert!(matches!(read, Err(ReadError::TooLong { size, .. }) if size == 4 * u64::from(count)));
        }
    }

    let (bytes, _) = recording(5, true);
    let mut reader = Reader::new(bytes).unwrap().max_message_size(72);
    assert!(reader.next().unwrap().is_ok() && reader.next().unwrap().is_ok());
    let mut reader = reader.max_message_size(2);
    reader.rewind();
    assert!(matches!(
        reader.next(),
        Some(Err(ReadError::TooLong {
            number: 0,
            size: 3,
            limit: 2,
            ..
        }))
    ));
    assert_eq!(reader.count(), 4);
}

#[test]
fn compressed_messages_round_trip() {
    for compression in [Compression::Lz4, Compression::Zstd] {
        let mut batch = Batch::new();
        let encoder = Encoder::new(ID, Timestamp::default(), compression, &mut batch);
        let Ok(mut encoder) = encoder else {
            assert!(!compression.is_supported());
            continue;
        };
        let messages: Vec<Message> = (0..6)
            .map(|n: usize| Message::from([vec![n as u8; 1_000 * n], vec![7; 10], (0..=255).collect()]))
            .collect();
        for message in &messages {
            encoder.encode(message, Timestamp::default(), &mut batch).unwrap();
        }
        encoder.finish(&mut batch);
        let bytes = batch.to_vec();
        assert!(bytes.len() < 8_000, "{} bytes", bytes.len());
        let info = Reader::new(bytes.clone()).unwrap().info();
        assert_eq!(
            (info.compression, info.bytes),
            (Some(compression), 15_000 + 6 * 266)
        );
        let read: Vec<Message> = read_all(&bytes).into_iter().map(Message::from).collect();
        assert_eq!(read, messages);
        // Cut anywhere, and damaged anywhere, as without compression.
        for cut in (64..bytes.len()).step_by(13) {
            let whole = Reader::new(bytes[..cut].to_vec()).unwrap().map(Result::unwrap);
            assert!(
                whole
                    .zip(&messages)
                    .all(|(recorded, message)| recorded.message == *message)
            );
        }
    }
}

#[test]
fn the_smallest_recording_is_byte_for_byte_as_documented() {
    let mut batch = Batch::new();
    let mut encoder = Encoder::new(
        0x1122_3344,
        Timestamp::from_nanos(9),
        Compression::None,
        &mut batch,
    )
    .unwrap();
    encoder
        .encode(
            &Message::from(["ab", "", "c"]),
            Timestamp::from_nanos(77),
            &mut batch,
        )
        .unwrap();
    let bytes = batch.to_vec();
    assert_eq!(bytes.len(), 64 + 64 + 15);
    assert_eq!(bytes[..12], *b"\x89FBREC\r\n\x01\x00\x00\x00");
    assert_eq!(bytes[16..24], 9_u64.to_le_bytes());
    assert_eq!(bytes[32..36], [0x44, 0x33, 0x22, 0x11]);
    let head = &bytes[64..128];
    assert_eq!(head[..12], *b"\xf5FBr\x01\x00\x00\x00\x03\x00\x00\x00");
    assert_eq!(head[16..32], [15_u64.to_le_bytes(), 3_u64.to_le_bytes()].concat());
    assert_eq!(head[32..48], [0_u64.to_le_bytes(), 77_u64.to_le_bytes()].concat());
    assert_eq!(head[48..60], *b"\0\0\0\0\0\0\0\0\x44\x33\x22\x11");
    assert_eq!(bytes[128..], *b"\x02\0\0\0\0\0\0\0\x01\0\0\0abc");
}

proptest! {
    #[test]
    fn any_messages_round_trip(
        messages in proptest::collection::vec(
            proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..100),
                    (4_000..50_000_usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
                ],
                0..6,
            ),
            0..20,
        ),
        compression in prop_oneof![Just(Compression::None), Just(Compression::Lz4), Just(Compression::Zstd)],
        close: bool,
    ) {
        let compression = if compression.is_supported() { compression } else { Compression::None };
        let mut batch = Batch::new();
        let mut encoder = Encoder::new(ID, Timestamp::default(), compression, &mut batch).unwrap().chunk_messages(3);
        let messages: Vec<Message> = messages.into_iter().map(|parts| parts.into_iter().collect()).collect();
        for message in &messages {
            encoder.encode(message, Timestamp::default(), &mut batch).unwrap();
        }
        if close {
            encoder.finish(&mut batch);
        }
        let read: Vec<Message> = read_all(&batch.to_vec()).into_iter().map(Message::from).collect();
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, front: bool) {
        let bytes = if front { [recording(2, false).0, bytes].concat() } else { bytes };
        let _ = Info::verify_source(&bytes);
        if let Ok(reader) = Reader::new(bytes) {
            prop_assert!(reader.count() < 1_000);
        }
    }

    #[test]
    fn damage_anywhere_never_panics_and_never_shows_a_wrong_message(
        at in 0_usize..2_000, noise in proptest::collection::vec(any::<u8>(), 1..200), remove: bool,
    ) {
        let (mut bytes, _) = recording(20, true);
        let at = at % bytes.len();
        let end = (at + noise.len()).min(bytes.len());
        if remove {
            bytes.drain(at..end);
        } else {
            bytes[at..end].copy_from_slice(&noise[..end - at]);
        }
        let all = expected(20);
        let _ = Info::verify_source(&bytes);
        let Ok(mut reader) = Reader::new(bytes) else { return Ok(()) };
        for number in [0, 7, 19] {
            reader.seek_number(number).unwrap();
            for recorded in reader.by_ref().flatten() {
                prop_assert_eq!(&recorded, &all[recorded.number as usize]);
            }
        }
    }
}

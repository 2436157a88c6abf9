//! Arbitrary bytes as a recording; and a recording that was damaged: what is read of it was written so.
#![no_main]

use bytes::Bytes;
use flexbond_stream::recording::{Batch, Compression, Encoder, Info, Reader, Timestamp};
use flexbond_transport::Message;
use flexbond_wire_fuzz::Script;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    match choice % 2 {
        0 => {
            read(&Bytes::copy_from_slice(rest), |_, _| {});
        }
        _ => damaged(rest),
    }
});

/// Reads all that can be read, from the beginning and from elsewhere.
fn read(file: &Bytes, mut seen: impl FnMut(u64, &Message)) {
    let _ = Info::verify_source(file);
    let Ok(reader) = Reader::new(file.clone()) else {
        return;
    };
    let mut reader = reader.max_message_size(1 << 16);
    let _ = (reader.info().to_json(), reader.recovered());
    let mut numbers = Vec::new();
    // Each has at least a head, damaged or not.
    for _ in 0..=file.len() {
        match reader.next_message() {
            Ok(Some(recorded)) => {
                assert!(recorded.message.size() <= 1 << 16);
                seen(recorded.number, &recorded.message);
                numbers.push((recorded.number, recorded.time));
            }
            Ok(None) => break,
            Err(_) => {}
        }
    }
    assert!(matches!(reader.next_message(), Ok(None)), "it has an end");
    for (number, time) in numbers.into_iter().take(8) {
        let _ = reader.seek_number(number);
        let _ = reader.next_message();
        let _ = reader.seek_time(time);
        let _ = reader.next_message();
    }
    let _ = reader.seek_time(Timestamp::from_nanos(0));
}

fn damaged(data: &[u8]) {
    let mut script = Script(data);
    let choice = script.byte();
    let compression = if choice & 1 == 0 {
        Compression::None
    } else {
        Compression::Lz4
    };
    let mut batch = Batch::new();
    let Ok(mut encoder) = Encoder::new(7, Timestamp::from_nanos(1), compression, &mut batch) else {
        return;
    };
    let mut written = Vec::new();
    for time in 0..script.byte() % 16 {
        let message = script.message();
        if message.is_empty() {
            encoder.skip(1);
            written.push(None);
            continue;
        }
        let time = Timestamp::from_nanos(i64::from(time));
        encoder.encode(&message, time, &mut batch).expect("it is small");
        written.push(Some(message));
    }
    if choice & 2 != 0 {
        encoder.finish(&mut batch);
    }
    let mut file = batch.to_vec();
    if choice & 4 != 0 {
        file.truncate(script.word());
    }
    // The checksums find out about all changes of so few bits.
    let harm = choice & 8 != 0;
    if harm && let Some(len @ 1..) = Some(file.len()) {
        let place = script.word() % len;
        file[place] ^= script.byte();
    }
    let mut count = 0;
    read(&file.into(), |number, message| {
        let place = usize::try_from(number).expect("there are few");
        assert_eq!(
            written.get(place),
            Some(&Some(message.clone())),
            "message {number}"
        );
        count += 1;
    });
    if choice & 12 == 0 {
        assert_eq!(count, written.iter().flatten().count(), "nothing is missing");
    }
}

//! What people write on command lines, into lines of input and into requests for metrics. The program's own crate is not
//! built for this: see `transfer`.
#![no_main]
#![allow(dead_code)]

// What these sources know as parts of their own crate.
use flexbond_stream as stream;
use flexbond_transport as transport;
use libfuzzer_sys::fuzz_target;
use transport::Message;

#[path = "../../../flexbond/src/cli/metrics/address.rs"]
mod address;
#[path = "../../../flexbond/src/cli/argument.rs"]
mod argument;
#[path = "../../../flexbond/src/cli/generate/fault.rs"]
mod fault;
#[path = "../../../flexbond/src/cli/line.rs"]
mod line;
#[path = "../../../flexbond/src/cli/mark.rs"]
mod mark;
#[path = "../../../flexbond/src/cli/metrics/negotiation.rs"]
mod negotiation;
#[path = "../../../flexbond/src/cli/split/output.rs"]
mod output;
#[path = "../../../flexbond/src/cli/printable.rs"]
mod printable;
#[path = "../../../flexbond/src/cli/generate/shape.rs"]
mod shape;

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    if choice % 4 == 0 {
        return lines(data);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match choice % 4 {
        1 => values(text),
        2 => {
            let _ = output::parse(text);
            let _ = negotiation::Format::accepted(text).content_type();
            let shown = printable::printable(text);
            assert_eq!(printable::printable(&shown), shown);
            assert!(!shown.chars().any(char::is_control));
        }
        _ => {
            if let Ok(shape) = shape::Shape::parse(text) {
                assert!(shape.fastest_first().iter().all(|extent| *extent > 0));
                assert_eq!(shape::Shape::parse(&shape.to_string()), Ok(shape));
            }
            let _ = text.parse::<mark::Mark>();
            faults(text);
            let _ = address::parse(text);
            if let Ok(group) = argument::multicast(text) {
                assert_eq!(argument::multicast(&group.to_string()), Ok(group));
            }
        }
    }
});

fn lines(data: &[u8]) {
    if let Ok(message) = line::parse(data) {
        let mut written = Vec::new();
        line::write(&message, &mut written);
        assert_eq!(line::parse(&written), Ok(message));
    }
}

/// Faults with a space between them, on a hundred images: what is sent is what was not dropped, and what was doubled.
fn faults(text: &str) {
    let parsed: Result<Vec<_>, _> = text.split(' ').map(fault::Fault::parse).collect();
    let Ok(parsed) = parsed else {
        return;
    };
    let mut faults = fault::Faults::new(&parsed, text.len() as u64);
    let mut sent = 0;
    for number in 0..100_u8 {
        faults.apply(Message::from(vec![number; 3]), |_| sent += 1);
    }
    faults.release(|_| sent += 1);
    let counts = faults.counts();
    assert_eq!(sent, 100 - counts.dropped + counts.duplicated);
    assert!(faults.abort_at(7).is_none_or(|image| (1..=7).contains(&image)));
}

fn values(text: &str) {
    if let Ok(bytes) = argument::bytes(text) {
        assert!(bytes.len() <= text.len());
        let again = format!("hex:{}", hex::encode(&bytes));
        assert_eq!(argument::bytes(&again), Ok(bytes));
    }
    if let Ok(size) = argument::size(text) {
        assert_eq!(argument::size(&size.to_string()), Ok(size));
    }
    if let Ok(bytes) = argument::megabytes(text) {
        assert!(bytes <= 1 << 40);
    }
    let seconds = argument::seconds(text);
    if let Ok(time) = argument::positive_seconds(text) {
        assert!(!time.is_zero() && seconds == Ok(time));
    }
    let linger = argument::linger(text);
    assert!(seconds.is_err() || linger == seconds.map(|time| argument::Linger(Some(time))));
}

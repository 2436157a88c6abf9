//! Items of several sources, in any order and at any time, put into sets: each item is in one set or handed back, and no
//! more wait than may.
#![no_main]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use flexbond_stream::merge::{AlignOptions, Aligner};
use flexbond_stream::{FrameId, Numbering};
use flexbond_wire_fuzz::Script;
use libfuzzer_sys::fuzz_target;

const INPUTS: usize = 3;
const MOST: usize = 5;

fuzz_target!(|data: &[u8]| {
    let mut script = Script(data);
    let choice = script.byte();
    let options = AlignOptions::new()
        .wait(Duration::from_millis(u64::from(script.byte())))
        .max_pending(MOST)
        .ordered(choice & 1 != 0);
    let mut aligner = Aligner::new(INPUTS, options);
    let mut now = Instant::now();
    let mut held = HashSet::new();
    let mut item = 0_u32;
    while !script.is_over() {
        let step = script.byte();
        let input = usize::from(step >> 4) % INPUTS;
        match step % 8 {
            0 => now += Duration::from_millis(u64::from(script.byte())),
            1 if step >= 0xf0 => aligner.end(input),
            _ => {
                let number = u64::from(script.byte());
                let series = (choice & 2 != 0).then(|| number >> 6);
                let id = FrameId::new(Numbering::Frame, number).series(series);
                item += 1;
                held.insert(item);
                if let Err(rejected) = aligner.handle_item(now, input, id, item) {
                    assert!(held.remove(&rejected.item));
                }
            }
        }
        while let Some(set) = aligner.poll(now) {
            assert_eq!(set.items.len(), INPUTS);
            assert!(set.items.iter().any(Option::is_some), "not for nothing");
            for item in set.items.into_iter().flatten() {
                assert!(held.remove(&item), "{item} came twice");
            }
        }
        assert!(held.len() <= INPUTS * MOST);
        let pending: usize = aligner.counts().map(|count| count.pending).sum();
        assert_eq!(pending, held.len());
        if let Some(due) = aligner.poll_timeout() {
            assert!(due > now, "it would turn for ever");
        }
    }
    for input in 0..INPUTS {
        aligner.end(input);
    }
    while let Some(set) = aligner.poll(now) {
        for item in set.items.into_iter().flatten() {
            assert!(held.remove(&item), "{item} came twice");
        }
    }
    assert!(held.is_empty() && aligner.is_over());
});

//! The room that jobs, pairs and channels take beside their messages: who gets some in any case, and when it is free again.

use super::stage::{Stage, Voice, open};
use super::*;

fn small() -> RelayLimits {
    RelayLimits {
        memory_bytes: 1 << 20,
        ..relay_limits()
    }
}

/// How many channels are opened, of 1,000.
fn opens(stage: &mut Stage, voice: &mut Voice) -> u32 {
    let mut count = 0;
    while count < 1000 && stage.takes(voice, open(count, &count.to_string())) {
        stage.items(voice);
        count += 1;
    }
    count
}

#[test]
fn the_first_channels_are_opened_whatever_there_is() {
    let mut stage = Stage::new(small(), Access::open());
    let mut voices: Vec<_> = ["one", "two"]
        .map(|name| Voice {
            job: job(name),
            connection: if name == "one" { 100 } else { 200 },
            ..Voice::new(0, 1)
        })
        .into();
    voices.iter().for_each(|voice| stage.hello(voice));
    // One job takes all that there is for its party.
    let count = opens(&mut stage, &mut voices[0]);
    assert!((50..200).contains(&count), "{count}");
    let is_full = |event: &RelayEvent| {
        matches!(
            event,
            RelayEvent::Full {
                quota: QuotaKind::Party,
                ..
            }
        )
    };
    assert!(stage.events().iter().any(is_full));
    // Nothing that comes behind the opening of a channel waits for another job.
    assert_eq!(opens(&mut stage, &mut voices[1]), 16);
    assert!(stage.events().iter().any(is_full));
}

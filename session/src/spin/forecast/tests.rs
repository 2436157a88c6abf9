//! Waits of all kinds, and what is bet on them.

use fastrand::Rng;

use super::*;

/// What waits came to that last so long each, if nobody looks, as `wait` says.
#[derive(Debug, Default)]
struct Tally {
    waits: u32,
    won: u32,
    lost: u32,
    /// Time that all waits took, and the part of it that was spent looking.
    time: Duration,
    looked: Duration,
}

impl Tally {
    fn share(&self) -> f64 {
        self.looked.as_secs_f64() / self.time.as_secs_f64()
    }
}

fn run(forecast: &mut Forecast, waits: u32, mut wait: impl FnMut(u32) -> Duration) -> Tally {
    let mut tally = Tally::default();
    for number in 0..waits {
        let lasts = wait(number);
        if let Some(limit) = forecast.bet() {
            let wins = lasts <= limit;
            tally.won += u32::from(wins);
            tally.lost += u32::from(!wins);
            tally.looked += lasts.min(limit);
            forecast.ended(match wins {
                true => Outcome::Won,
                false => Outcome::Lost,
            });
        }
        forecast.waited(lasts);
        tally.waits += 1;
        tally.time += lasts;
    }
    tally
}

fn micros(count: u64) -> impl Fn(u32) -> Duration {
    move |_| Duration::from_micros(count)
}

#[test]
fn short_waits_are_all_looked_through_for_twice_as_long_as_they_last() {
    for (lasts, stands) in [(5, 50), (30, 60), (45, 90), (60, 100), (90, 100)] {
        let mut forecast = Forecast::new();
        let tally = run(&mut forecast, 1000, micros(lasts));
        assert_eq!(tally.won, tally.waits, "{lasts} µs");
        let stood = forecast.bet().expect("a bet").as_micros();
        assert!((stands - 2..=stands + 2).contains(&stood), "{lasts} µs: {stood}");
    }
}

#[test]
fn a_peer_that_is_slow_costs_next_to_nothing() {
    for lasts in [101, 150, 200, 400, 501, 1000, 10_000, 1_000_000] {
        let mut forecast = Forecast::new();
        let tally = run(&mut forecast, 100_000, micros(lasts));
        assert_eq!(tally.won, 0);
        assert!(tally.lost <= 40, "{lasts} µs: {tally:?}");
        assert!(tally.share() < 0.001, "{lasts} µs: {tally:?}");
    }
    let mut forecast = Forecast::new();
    let tally = run(&mut forecast, 1000, micros(2000));
    assert!(tally.lost <= 3, "an idle one is not looked for at all: {tally:?}");
    assert_eq!(run(&mut forecast, 1000, micros(2000)).lost, 0);
}

#[test]
fn one_long_wait_is_no_reason_to_sleep_through_short_ones() {
    let mut forecast = Forecast::new();
    run(&mut forecast, 100, micros(10));
    let tally = run(&mut forecast, 10_000, |number| match number % 100 {
        0 => Duration::from_secs(1),
        _ => Duration::from_micros(10),
    });
    assert_eq!((tally.won, tally.lost), (9900, 100));
}

#[test]
fn who_has_slept_finds_out_that_waits_are_short_again() {
    let mut forecast = Forecast::new();
    run(&mut forecast, 10_000, micros(5000));
    let awake = run(&mut forecast, 20, micros(80));
    assert!(awake.won > 0, "{awake:?}");
    // Both sides sleep, and each wait is as long as it takes to wake both: short ones once somebody looks.
    let mut forecast = Forecast::new();
    run(&mut forecast, 10_000, micros(300));
    let tally = run(&mut forecast, 10_000, {
        let mut looks = 0;
        move |number| {
            looks += u32::from(number % 97 == 0);
            Duration::from_micros(if looks > 50 { 20 } else { 150 })
        }
    });
    assert!(tally.won > 1000, "{tally:?}");
}

#[test]
fn bets_that_are_lost_make_the_next_ones_rarer() {
    let mut forecast = Forecast::new();
    run(&mut forecast, 1000, micros(10));
    for _ in 0..Forecast::MOST_TRUST {
        assert!(forecast.bet().is_some(), "forgiven");
        forecast.ended(Outcome::Lost);
    }
    let mut expected = Forecast::FIRST_PAUSE;
    for _ in 0..20 {
        assert!(forecast.bet().is_some());
        forecast.ended(Outcome::Lost);
        let pause = (0..).take_while(|_| forecast.bet().is_none()).count();
        assert_eq!(pause, expected as usize);
        expected = (2 * expected).min(Forecast::LONGEST_PAUSE);
    }
    for _ in 0..20 * Forecast::WINS_TO_HALVE {
        assert!(forecast.bet().is_some());
        forecast.ended(Outcome::Won);
    }
    assert_eq!(forecast.pause, Forecast::FIRST_PAUSE);
    assert_eq!(forecast.trust, Forecast::MOST_TRUST);
}

#[test]
fn where_others_need_the_processor_it_gives_way_at_once_and_for_long() {
    let mut forecast = Forecast::new();
    run(&mut forecast, 1000, micros(10));
    for expected in [256, 1024, 4096, 4096] {
        assert!(forecast.bet().is_some());
        forecast.ended(Outcome::Displaced);
        let pause = (0..).take_while(|_| forecast.bet().is_none()).count();
        assert_eq!(pause, expected);
    }
}

#[test]
fn whatever_happens_losses_are_few() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let mut forecast = Forecast::new();
        let (mut waits, mut wins, mut losses) = (0, 0, 0);
        let (luck, typical) = (rng.f64(), rng.u64(1..600));
        for _ in 0..20_000 {
            waits += 1;
            if let Some(limit) = forecast.bet() {
                assert!((Forecast::SHORTEST..=Forecast::LONGEST).contains(&limit));
                let outcome = match rng.f64() < luck {
                    true => Outcome::Won,
                    false if rng.u8(..) == 0 => Outcome::Displaced,
                    false => Outcome::Lost,
                };
                wins += u32::from(outcome == Outcome::Won);
                losses += u32::from(outcome != Outcome::Won);
                forecast.ended(outcome);
            }
            forecast.waited(Duration::from_micros(rng.u64(0..2 * typical)));
        }
        // Those that are forgiven, those while pauses grow, and those after the longest one.
        let grown = (Forecast::LONGEST_PAUSE / Forecast::FIRST_PAUSE).ilog2();
        let most = 1
            + wins / Forecast::WINS
            + grown
            + wins / Forecast::WINS_TO_HALVE
            + waits / Forecast::LONGEST_PAUSE
            + 1;
        assert!(
            losses <= most,
            "seed {seed}: {losses} losses, {wins} wins, {most} allowed"
        );
    }
}

//! The examples of federation do what they say.

#[path = "../examples/federation_demo.rs"]
mod demo;

#[path = "../examples/federated_averaging.rs"]
mod averaging;

use std::process::Command;

/// What a clinic of its own process is told by.
const CHILD: &str = "FLEXBOND_TEST_CLINIC";

#[test]
fn the_demo_codes_of_flex_bond() {
    demo::run().unwrap();
}

/// Not a test where nobody asks for a clinic.
#[test]
fn a_clinic_of_its_own_process() {
    if let Ok(order) = std::env::var(CHILD) {
        let (local, server) = order.split_once(' ').unwrap();
        println!("{}", averaging::told(averaging::clinic(local, server).unwrap()));
    }
}

#[test]
fn three_clinics_learn_more_together_than_alone() {
    let outcomes = averaging::run(|local, server| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "a_clinic_of_its_own_process", "--nocapture"])
            .env(CHILD, format!("{local} {server}"));
        command
    })
    .unwrap();
    assert_eq!(outcomes.len(), 3);
    for outcome in &outcomes {
        assert!(outcome.together > outcome.alone + 0.2, "{outcomes:?}");
        assert!(outcome.together > 0.85, "{outcomes:?}");
        assert_eq!(outcome.together, outcomes[0].together, "all have the same model");
    }
}

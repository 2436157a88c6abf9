//! Who is not named, who has another's id, who comes later, and who says the same twice.

use serde_json::{Value, json};

use crate::member;
use crate::program::Program;
use crate::site::{Site, fails};

#[test]
fn a_party_that_nobody_has_named_is_told() {
    let site = Site::new();
    let mut server = site.serve("", "", "");
    let (a, b) = site.pair(&server.endpoint);
    a.sends("b", "1");
    // By its own configuration; by that of the others.
    let lost = site.party(&server.endpoint, "c");
    fails(
        &lost.recv("a", &[]),
        2,
        "`session.local_id` c is not in `federation`, whose members are [\"a\", \"b\"]; add it there",
    );
    let stranger = site.party_with(&server.endpoint, "c", &["a", "b", "c"], &Value::Null);
    fails(
        &stranger.recv("a", &[]),
        1,
        "it does not have this party in its configuration",
    );
    server.event("job job: c is refused: it is no member of the job");
    let status = stranger.run(&["status"]).stdout;
    assert!(
        status
            .iter()
            .any(|line| line.contains("c  host     is not let in: it does not have this party")),
        "{status:?}"
    );
    // One of the job who has heard of more parties.
    let misled = site.party_with(&server.endpoint, "b", &["a", "b", "c"], &Value::Null);
    fails(
        &misled.recv("a", &[]),
        1,
        "names other parties for this job; both must name the same",
    );
    fails(
        &a.send("c", "1", &[]),
        2,
        "party c is not in this job, whose members are",
    );
    b.receives("a", "1");
}

#[test]
fn a_party_that_the_server_does_not_list_is_told() {
    let site = Site::new();
    let mut server = site.serve(
        "",
        "",
        "[parties.a]\n[parties.b]\n[jobs.job]\nmembers = [\"a\", \"b\"]",
    );
    let stranger = site.party_with(&server.endpoint, "c", &["a", "b", "c"], &Value::Null);
    fails(
        &stranger.recv("a", &[]),
        1,
        "the message server does not let this party take part in the job",
    );
    server.event("job job: c is refused: it may not take part");
    site.party(&server.endpoint, "a").sends("b", "1");
    site.party(&server.endpoint, "b").receives("a", "1");
}

#[test]
fn a_stolen_job_id_is_of_no_use_without_a_key() {
    let site = Site::new();
    let server_key = site.keygen("server");
    let tables: String = ["a", "b", "c"]
        .map(|name| format!("[parties.{name}]\nkey = \"{}\"\n", site.keygen(name)))
        .concat();
    let tables = format!("{tables}[curve]\nsecret_file = \"server.key_secret\"\n");
    let mut server = site.serve("", "", &tables);
    let party = |local: &str, secret: &str, members: &[&str]| {
        let curve =
            json!({"curve": {"secret_file": format!("{secret}.key_secret"), "server_key": server_key}});
        site.party_with(&server.endpoint, local, members, &curve)
    };
    let (a, b) = (party("a", "a", &["a", "b"]), party("b", "b", &["a", "b"]));
    let thieves = [
        // It says that it is b, whose message it wants.
        party("b", "c", &["a", "b"]),
        // Itself, in the job of the others.
        party("c", "c", &["a", "b", "c"]),
        party("c", "c", &["a", "c"]),
    ];
    a.sends("b", "\"for b\"");
    let impostor = thieves[0].recv("a", &["--timeout", "1"]);
    fails(
        &impostor,
        1,
        "the message server does not let this party take part in the job",
    );
    for thief in &thieves[1..] {
        fails(&thief.recv("a", &[]), 1, "refuse");
    }
    server.event("job job: c has said to be b, and is not believed");
    server.event("job job: c is refused: it is no member of the job");
    b.receives("a", "\"for b\"");
}

#[test]
fn of_two_processes_with_one_id_the_second_is_told_until_the_first_is_dead() {
    let site = Site::new();
    let server = site.serve("", "", "");
    let (a, b) = site.pair(&server.endpoint);
    let mut held = [&a, &b].map(|party| member::start(party, "hold"));
    held.iter_mut().for_each(|program: &mut Program| {
        program.event("holds");
    });
    let end = a.send("b", "1", &[]);
    fails(&end, 1, "party a is running: another process has its place");
    assert!(
        end.stderr
            .iter()
            .any(|line| line.contains("a party is one process")),
        "{end:?}"
    );
    let status = a.run(&["status"]).stdout;
    assert!(
        status.contains(&"  a  host     is there".to_owned()),
        "{status:?}"
    );
    held[0].signal("KILL");
    // The place is free as soon as the server holds the dead one for dead.
    a.sends("b", "2");
    held[1].signal("KILL");
    b.receives("a", "2");
    let status = b.run(&["status", "--timeout", "0.2"]).stdout;
    assert!(
        status.contains(&"  b  host     is not running".to_owned()),
        "{status:?}"
    );
}

#[test]
fn a_tag_may_be_used_again_and_keeps_its_order() {
    let site = Site::new();
    let server = site.serve("", "", "");
    let (a, b) = site.pair(&server.endpoint);
    for (value, tag) in [("1", "t"), ("2", "u"), ("3", "t")] {
        let end = a.send("b", value, &["--tag", tag]);
        assert_eq!(end.code, Some(0), "{end:?}");
    }
    a.sends("b", "4");
    // Those without a tag are others.
    b.receives("a", "4");
    for value in ["1", "3"] {
        let end = b.recv("a", &["--tag", "t"]);
        assert_eq!(
            (end.code, &*end.stdout),
            (Some(0), &[value.to_owned()][..]),
            "{end:?}"
        );
    }
    fails(
        &b.recv("a", &["--tag", "t", "--timeout", "0.3"]),
        3,
        "channel x: waiting for a message with tag `t` took more than 300ms; party a has left",
    );
    assert_eq!(b.recv("a", &["--tag", "u"]).stdout, ["2"]);
}

//! Servers and parties that know each other by keys or by certificates.

use serde_json::json;

use crate::certificates::Authority;
use crate::program::Program;
use crate::site::{Party, Running, Site, serving};

/// Starts a server with this configuration; it listens at a port of its own.
fn serve(site: &Site, name: &str, scheme: &str, tables: &str) -> Running {
    let file = site.server_file(name, "", "", tables);
    let program = Program::flexbond(&serving(&file, &format!("{scheme}://127.0.0.1:0")));
    Running::start(program, file)
}

/// Messages go both ways between parties of two servers.
fn they_talk(a: &Party, b: &Party) {
    a.sends("b", "\"to b\"");
    b.receives("a", "\"to b\"");
    b.sends("a", "\"to a\"");
    a.receives("b", "\"to a\"");
}

#[test]
fn two_servers_with_keys_join_two_sites() {
    let site = Site::new();
    let [north_key, south_key, a_key, b_key] =
        ["north", "south", "bank-a", "bank-b"].map(|name| site.keygen(name));
    let south_tables = format!(
        "[curve]\nsecret_file = \"south.key_secret\"\n\
         [parties.b]\nkey = \"{b_key}\"\n\
         [servers.north]\nkey = \"{north_key}\"\nparties = [\"a\"]\n"
    );
    let mut south = serve(&site, "south", "tcp", &south_tables);
    let north_tables = |name: &str| {
        format!(
            "[curve]\nsecret_file = \"{name}.key_secret\"\n\
             [parties.a]\nkey = \"{a_key}\"\n\
             [servers.south]\nconnect = \"{}\"\nkey = \"{south_key}\"\nparties = [\"b\"]\n",
            south.endpoint
        )
    };
    let (own, stolen) = (north_tables("north"), north_tables("thief"));
    let north = serve(&site, "north", "tcp", &own);
    let party = |local: &str, server: &Running, server_key: &str| {
        let keys = json!({"curve": {
            "secret_file": format!("bank-{local}.key_secret"), "server_key": server_key,
        }});
        site.party_with(&server.endpoint, local, &["a", "b"], &keys)
    };
    let (a, b) = (party("a", &north, &north_key), party("b", &south, &south_key));
    they_talk(&a, &b);
    // Another server says that it is the north.
    drop(north);
    let thief_key = site.keygen("thief");
    let mut thief = serve(&site, "thief", "tcp", &stolen);
    south.event("is not on the list");
    let a = party("a", &thief, &thief_key);
    let end = a.send("b", "\"false\"", &[]);
    // It is in the custody of a server that brings it nowhere.
    assert_eq!(end.code, Some(0), "{end:?}");
    thief.event("south");
    let end = b.recv("a", &["--timeout", "0.3"]);
    assert!(end.code != Some(0) && end.stdout.is_empty(), "{end:?}");
}

/// Files of one end with a certificate for these names.
fn certify(site: &Site, authority: &Authority, name: &str, names: &[&str]) -> serde_json::Value {
    let (chain, key) = authority.issue(names);
    let [chain_file, key_file] = [format!("{name}.pem"), format!("{name}-key.pem")];
    site.write(&chain_file, &chain);
    site.write(&key_file, &key);
    json!({"tls": {"authorities": "ca.pem", "certificate": chain_file, "private_key": key_file}})
}

fn tls_table(name: &str) -> String {
    format!(
        "[tls]\nauthorities = \"ca.pem\"\ncertificate = \"{name}.pem\"\nprivate_key = \"{name}-key.pem\"\n"
    )
}

#[test]
fn two_servers_with_certificates_join_two_sites() {
    let site = Site::new();
    let authority = Authority::new();
    site.write("ca.pem", &authority.pem());
    for name in ["north", "south"] {
        certify(
            &site,
            &authority,
            name,
            &["127.0.0.1", &format!("{name}.example")],
        );
    }
    let [a_files, b_files, thief_files] =
        ["a", "b", "thief"].map(|name| certify(&site, &authority, name, &[&format!("{name}.example")]));
    let south_tables = format!(
        "{}[parties.b]\ncertificates = [\"DNS:b.example\"]\n\
         [servers.north]\ncertificates = [\"DNS:north.example\"]\nparties = [\"a\"]\n",
        tls_table("south")
    );
    let mut south = serve(&site, "south", "tls", &south_tables);
    let north_tables = format!(
        "{}[parties.a]\ncertificates = [\"DNS:a.example\"]\n\
         [servers.south]\nconnect = \"{}\"\nparties = [\"b\"]\n",
        tls_table("north"),
        south.endpoint
    );
    let north = serve(&site, "north", "tls", &north_tables);
    let party = |local: &str, server: &Running, files: &serde_json::Value| {
        site.party_with(&server.endpoint, local, &["a", "b"], files)
    };
    // Of the same authority, and on no list.
    let thief = party("b", &south, &thief_files);
    let end = thief.recv("a", &["--timeout", "1"]);
    assert!(end.code != Some(0) && end.stdout.is_empty(), "{end:?}");
    assert!(end.stderr[0].contains("do not accept each other"), "{end:?}");
    south.event("thief.example");
    they_talk(&party("a", &north, &a_files), &party("b", &south, &b_files));
}

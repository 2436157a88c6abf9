//! What the compiler says of traits that cannot be services, and where it points to.
//!
//! What is expected stands beside each file. `TRYBUILD=overwrite cargo test -p flexbond-rpc-macros --test service_errors`
//! writes it anew; read what has changed. It is here and not with the other tests of services because the compiler is
//! run with the features of the test's package: this one has none, where all of flexbond-rpc take a minute more.

#[test]
fn errors_say_what_is_wrong_and_what_to_write() {
    trybuild::TestCases::new().compile_fail("tests/service_errors/*.rs");
}

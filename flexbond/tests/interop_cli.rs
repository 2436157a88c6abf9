//! `flexbond socket` against pyzmq, in every pattern, at either end, bound at either end, over tcp and ipc.

mod program;

use program::conversation::{self, Ends};
use program::{Program, Side};

macro_rules! conversations {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            Ends::each(Side::Ours, Side::Pyzmq).for_each(conversation::$name);
            Ends::each(Side::Pyzmq, Side::Ours).for_each(conversation::$name);
        }
    )*};
}

conversations!(
    push_pull,
    req_rep,
    req_rep_echo,
    req_router,
    dealer_rep,
    dealer_router,
    dealer_router_echo,
    pair,
    publish_subscribe,
    xpub_xsub,
);

#[test]
fn plain_users_of_libzmq_are_checked() {
    let server = [
        "PULL",
        "--bind",
        "tcp://127.0.0.1:0",
        "--print-endpoint",
        "--plain-server",
        "--monitor",
    ];
    let credentials = ["--username", "ada", "--password", "secret", "--recv", "1"];
    let mut pull = Program::socket(Side::Ours, &[&server[..], &credentials].concat());
    let endpoint = pull.line();
    let push = |password: &str| {
        let arguments = [
            "PUSH",
            "--connect",
            &endpoint,
            "--username",
            "ada",
            "--password",
            password,
        ];
        let mut push = Program::socket(Side::Pyzmq, &arguments);
        push.write(r#"["let me in"]"#);
        push
    };
    let refused = push("guess");
    pull.event("failed");
    drop(refused);
    let push = push("secret");
    assert_eq!(pull.line(), r#"["let me in"]"#);
    push.done();
    pull.done();
}

//! Each option's bounds.

use super::*;

#[test]
fn the_defaults_are_valid() {
    Options::new().validate().unwrap();
}

#[test]
fn each_bound_is_named() {
    let bad = [
        ("routing_id", Options::new().routing_id(vec![1; 256])),
        ("routing_id", Options::new().routing_id(vec![0, 1])),
        ("metadata", Options::new().metadata("Color", "red")),
        ("metadata", Options::new().metadata("X-Color:", "red")),
        (
            "heartbeat_interval",
            Options::new().heartbeat_interval(Duration::ZERO),
        ),
        (
            "heartbeat_ttl",
            Options::new().heartbeat_ttl(Duration::from_secs(7000)),
        ),
        ("max_message_size", Options::new().max_message_size(0)),
        ("send_hwm_bytes", Options::new().send_hwm_bytes(0)),
        ("recv_memory", Options::new().recv_memory(0)),
        ("max_peers_per_address", Options::new().max_peers_per_address(0)),
        ("max_subscription_bytes", Options::new().max_subscription_bytes(0)),
        ("subscription_memory", Options::new().subscription_memory(0)),
    ];
    for (option, options) in bad {
        assert_eq!(options.validate().unwrap_err().option, option);
    }
}

//! What protects messages, what does not, and what is left to you: read this before a port is open to others.
//!
//! Nothing here is code. Each mechanism has its own page with the details; this one says which to take, and what none
//! of them does. Names in `code` after a claim are the tests that show it.
//!
//! # Which one
//!
//! | what is used | others can read | others can change | the server is known | the client is known | who was recorded is safe when a key leaks |
//! | --- | --- | --- | --- | --- | --- |
//! | NULL (the default) | yes | yes | no | no | – |
//! | PLAIN | yes | yes | no | by a password, which others can read | – |
//! | CURVE | no | no | by its key | by its key | yes |
//! | `tls://` | no | no | by its certificate | by its certificate, if the server asks | yes |
//! | groups without a key | yes | yes | no | no | – |
//! | groups with a key | no | no, but members can pretend to be each other | as one who has the key | as one who has the key | no |
//! | `inproc://` | it does not leave the process | | | | |
//!
//! "Others" are those who see or forge packets on the way. Whoever can run code as the same user, or read the memory
//! of the process, is not kept out by any of this. Nor is anybody who holds up packets: all of them can be made to
//! *fail*, and none of them can be made to *arrive*.
//!
//! # What nothing here gives
//!
//! - **Who talks with whom, when and how much** can be seen: addresses, sizes, times and the number of messages are
//!   not hidden, and nothing is padded.
//! - **Delivery.** Who can drop packets can end any connection and any session. The last messages before an end may be
//!   missing: an honest end of a connection under CURVE cannot be told from one that somebody made. A `tls://`
//!   connection that was cut off is an error (`a_connection_that_is_cut_off_is_not_complete`).
//! - **A harmless peer.** One that was let in may still flood, stall or lie: the [limits](#limits) are for that.
//! - **Proof to others.** A message is authentic for who receives it; it cannot be shown to a third one.
//! - **Messages once they have arrived.** What is received, and what is [recorded](#recordings), is in clear.
//!
//! # Sockets with NULL
//!
//! The default. Everybody who reaches a bound endpoint is let in, unless an authenticator
//! ([`Authenticator`](crate::session::socket::Authenticator)) judges by the address: addresses of tcp are hard to
//! forge for a whole connection, except for who is on the way. Fit for `inproc://`, for `ipc://` in a folder of your
//! own, for the loopback interface of a machine whose users you trust, and for closed networks.
//!
//! What malformed bytes do is bounded: a greeting, READY, frame or command that is wrong ends its connection with a
//! typed reason and no other one (`garbage_instead_of_a_greeting`, `nonsense_instead_of_ready`,
//! `lengths_beyond_reason_end_the_connection_before_they_are_allocated`, and the case `hostile` of
//! `cargo xtask soak`).
//!
//! # Sockets with PLAIN
//!
//! A name and a password, both sent in clear text (RFC 24). The server compares passwords in the same time wherever they
//! differ and however long the right one is, also for users that there are not; names are looked up as in any table, and
//! how long that takes may show which there are. It keeps out mistakes, and who cannot listen. It is refused at endpoints that may lead off this machine
//! unless `Options::plain_anywhere` says that the network itself is encrypted
//! (`passwords_do_not_leave_the_machine_unasked`, `a_password_does_not_follow_localhost_off_the_machine`); within
//! `tls://` it is encrypted, and allowed. Otherwise the server is not known: a client shows its password to whoever
//! listens there.
//!
//! # Sockets with CURVE
//!
//! Curve25519, XSalsa20 and Poly1305 as in NaCl (RFC 25 and 26), the same on the wire as libzmq. A client knows the
//! server's public key beforehand; the server knows the client's from the handshake, and lets in everybody who knows
//! its own unless `CurveAllow` or another authenticator says otherwise. The details are at
//! `flexbond_wire::zmtp::curve`.
//!
//! - Protected: contents, subscriptions and heartbeats (`subscriptions_and_heartbeats_are_sealed_too`,
//!   `nothing_of_a_message_shows_on_the_way`); order and completeness
//!   (`frames_repeated_swapped_missing_or_in_clear_end_the_connection`); the handshake
//!   (`no_byte_of_a_handshake_can_be_changed_or_left_out`,
//!   `a_recorded_handshake_is_worth_nothing_to_a_server_with_other_chance`).
//! - Forward secrecy: yes. Each connection has keys of its own, wiped with it (`wire/tests/wiped.rs`). A recording
//!   could be opened by a quantum computer; `tls://` has a hybrid key exchange against that.
//! - Not protected: the socket type and the properties of a client are sealed, those that are in the greeting
//!   (version and mechanism) are not; an ERROR of the server is neither sealed nor proved.
//! - Denial of service: a stranger who does not know the server's public key costs it one cheap box, and makes room
//!   for others when there are too many (`the_silent_make_room_for_who_knows_the_key`). So keep a public key from the
//!   public where floods are feared.
//!
//! # `tls://`
//!
//! TLS 1.3 with rustls and AWS-LC (1.2 only if asked for). The server's certificate is always checked, against the
//! authorities given and against the host of the endpoint, or the name that `TlsClient::server_name` puts in its place: then
//! whoever has a certificate for that name passes for the server at every endpoint. No option turns the check off
//! (`another_name_is_refused`,
//! `an_unknown_authority_is_refused`, `an_expired_certificate_is_refused`). A server may ask for certificates of
//! clients. Within TLS, any mechanism can run; NULL is enough where certificates decide: an authenticator sees whose
//! certificate it is (`AuthRequest::identity`), and `CertificateAllow` is a list of who is let in
//! (`an_authenticator_learns_whose_certificate_it_is_whatever_the_mechanism`,
//! `who_is_not_on_the_list_of_certificates_is_denied_until_it_is`). An authority alone lets in all that it has signed.
//! Among the roots, a certificate that says that it is an authority (`CA:TRUE`) can issue certificates for all names that its
//! name constraints leave it; any other, a peer's own, is trusted for itself alone, whatever its key has signed
//! (`who_is_no_authority_is_trusted_for_itself_alone`). Common names are not bound by name constraints, and count only where
//! there are none and no other names (`who_is_limited_to_some_names_gives_no_common_names`).
//!
//! - Protected: everything after the handshake, its order and its end (`a_changed_bit_is_an_error`); the key exchange is
//!   a hybrid of X25519 and ML-KEM where both ends have it. There are no sessions that resume and no early data: nothing
//!   can be replayed.
//! - Not protected: the server's name in the ClientHello, and that this is TLS; with TLS 1.2, the certificates of both ends.
//! - Not checked: revocation. Let certificates be short-lived, and renew them with `Tls::reload`, which needs no
//!   restart (`new_handshakes_use_what_was_reloaded`).
//! - Denial of service: a listener has 256 handshakes under way at most, and each has 10 s (`a_silent_client_delays_nobody`).
//!   One more, and another gives way: of those from the address with the most, which are counted from the moment in which they
//!   are accepted, the one that has not got on for longest (`no_address_keeps_out_the_others`,
//!   `a_handshake_that_goes_on_gives_way_later_than_a_silent_one`). Who has addresses without number can still delay others.
//!   `max_peers_per_address` counts what comes after the handshake.
//! - Ranks of a mesh connect to each other at whatever address each announces, of the scheme of their server's endpoint
//!   (`who_listens_by_another_scheme_is_refused`): who has no certificate for that address is sent a ClientHello and nothing
//!   else. Over tcp, a rank that was let in can have the others send 32 bytes, which it does not choose, to any host and port.
//!
//! # Groups
//!
//! Without a key, datagrams have a checksum against chance and nothing against people: anybody on the network can
//! read, forge and end a session. With one (feature `group-crypto`): AES-256-GCM, keys by HKDF-SHA-256, a key for each
//! epoch, changed whenever somebody comes or goes, a replay window for each sender. `flexbond_session::group` says what
//! that gives and what it does not; in short:
//!
//! - Outsiders cannot join, read, change or replay (`session/tests/group_hostile.rs`, `wire/tests/group_crypto.rs`).
//! - Members trust each other: one can speak in the name of another.
//! - No forward secrecy: the pre-shared key and a recording open a session.
//! - Headers, names and sizes are in the open.
//! - With a key or without: no state and no amplification for an address that has not returned its cookie
//!   (`a_storm_of_joiners_takes_no_memory_and_leaves_the_members_at_work`).
//!
//! # Remote calls and streams
//!
//! `flexbond_rpc` and `flexbond_stream` run over sockets, and are protected as their sockets are, no more and no less:
//! the options of a socket are a field of theirs. Streams at `udp://` are groups.
//!
//! - A server of calls offers its methods to everybody whom its socket lets in. Judge single calls in a layer (a token in
//!   the metadata, answered with `Unauthenticated`); metadata are in clear if the socket is.
//! - The retry layer repeats a call that may have run only if it is said to be idempotent; nothing else keeps a peer from
//!   sending one twice.
//! - The text of a handler's panic is told to the caller: put no secrets into it.
//! - Calls, arguments and answers under way are bounded for each connection and for all
//!   (`arguments_of_all_calls_together_are_bounded_in_bytes`,
//!   `a_peer_that_does_not_read_large_answers_loses_its_connection_and_no_other_does`).
//! - Headers of streams say how large arrays are and how they are packed; nothing is allocated for what is not there,
//!   and no more than the decoder's limit (1 GiB) for what unpacks (`fault_06_a_bad_header_does_not_poison_the_next_receive`,
//!   and the fuzz targets).
//!
//! # Recordings
//!
//! Messages as they came, in clear. Every byte is under a checksum (CRC-32C): damage is found, tampering is not. Files are made with
//! the permissions that the process's umask leaves; take a folder that only its readers can enter, or an encrypted disk.
//! Reading a file that somebody else has written is safe: lengths are checked before they are used
//! (`stream/tests/recording_crash.rs`, the fuzz targets).
//!
//! # Limits
//!
//! Each has a default that honest peers do not meet; the README has the table, and the fields have the details. Whoever goes
//! over one is told of by `Event::LimitReached`, and counted in `Stats::limits` (`session/tests/limits.rs`). Who does so
//! again and again is counted, and told of ten times a second at most.
//!
//! | limit | default | where |
//! | --- | --- | --- |
//! | connections of a socket that binds, of one of its endpoints | 65,536 each | `Options::max_peers`, `max_peers_per_endpoint` |
//! | connections from one address | 16,384 | `max_peers_per_address` |
//! | handshakes under way at one endpoint | 1,024; with TLS 256 more below them, fairly between addresses | `max_handshakes`, `TlsOptions` |
//! | time for a handshake | 30 s; TLS 10 s | `handshake_timeout` |
//! | a message | 1 GiB in 65,536 parts | `max_message_size`, `max_message_parts` |
//! | messages that wait, from and for a peer | 1,000 each, 1 GiB each | `recv_hwm`, `send_hwm`, `recv_hwm_bytes`, `send_hwm_bytes` |
//! | what waits, from and for all peers of a socket | 4 GiB each | `recv_memory`, `send_memory` |
//! | topics of a peer | 100,000, 16 MiB | `max_subscriptions`, `max_subscription_bytes` |
//! | what the topics of all peers of a publisher take | 1 GiB | `subscription_memory` |
//! | time for the authenticator | 10 s | `auth_timeout` |
//! | calls under way | 65,536, of one connection 16,384; 1 GiB of arguments | `flexbond_rpc::server::Options` |
//! | arguments and answer of a call | 256 MiB each | `max_request`, `max_response` |
//! | members of a group, and what waits for them | 1,024; 64 MiB | `flexbond_session::group::Options` |
//!
//! What waits to be received from all peers together is a bound, what waits to be sent to all a goal (the README says why).
//! A server on an open network wants smaller ones: as large as its largest message, and no larger.
//!
//! # Keys
//!
//! - **Making them**: `flexbond keygen FILE` or `generate_keys` for CURVE; for groups 32 random bytes
//!   (`head -c 32 /dev/urandom | base64`): a group's key is not stretched, so it must not be a word.
//! - **Files**: `flexbond keygen` makes the secret one with mode 600. The programs refuse a secret key of CURVE or of a
//!   group that others can write, and say so if others can read it; a private key for TLS that others can use is
//!   refused (`a_key_that_others_may_read_is_refused`, `a_key_that_others_could_have_written_is_refused`).
//! - **Passwords** are better in `FLEXBOND_PASSWORD` than on the command line, which other users can list.
//! - **In memory**: secret keys, passwords and session keys are wiped when they are dropped, compared in constant time,
//!   and never shown by `Debug`. Not wiped are the bytes of a password of PLAIN as they came: a server's read buffer, and
//!   those of TLS and the system, have them until other bytes take their place. Keys of TLS are held by rustls. A core dump or swap may still have them: turn both off
//!   where that matters.
//! - **Rotation**: certificates with `Tls::reload`; the list of `CurveAllow` at any time; a server's CURVE key by a second
//!   socket with the new one, until all clients know it; a group's key by a new session.
//! - **After a leak**: a CURVE server's secret key lets its owner be that server; what was recorded before stays
//!   unreadable, except that of connections which are still open. A group's key opens what was recorded.
//!
//! # How to report a vulnerability
//!
//! In private, with the function *Report a vulnerability* in the section *Security* of the repository that you have this
//! from; not in a public issue. Say which version and endpoint, what a peer has to send, and what happens. What ends a
//! process, reads or forges what it should not, or takes memory or time without a bound from somebody who is not let in
//! counts as one; what somebody does who was let in counts, if a limit above does not hold.

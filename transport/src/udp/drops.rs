//! How many packets found a socket's receive buffer full: the system's table of UDP sockets tells.

#[cfg(target_os = "linux")]
pub(super) use linux::Drops;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Drops;

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Where to find the count of one socket. (`SO_RXQ_OVFL` would bring it with each packet, but to read it needs
    /// unsafe code.)
    #[derive(Debug)]
    pub(in crate::udp) struct Drops {
        inode: u64,
        table: &'static str,
        /// What was found last.
        known: OnceLock<AtomicU64>,
    }

    /// The table is read in pieces, and a line is passed over if another socket is closed meanwhile. So rarely that
    /// it does not happen this often in a row.
    const ATTEMPTS: usize = 4;

    impl Drops {
        pub(in crate::udp) fn of(socket: &impl AsFd, ipv6: bool) -> Option<Self> {
            let file = File::from(socket.as_fd().try_clone_to_owned().ok()?);
            Some(Drops {
                inode: file.metadata().ok()?.ino(),
                // Of the thread, whose network namespace need not be that of the process.
                table: if ipv6 {
                    "/proc/thread-self/net/udp6"
                } else {
                    "/proc/thread-self/net/udp"
                },
                known: OnceLock::new(),
            })
        }

        /// The count so far; `None` where the table cannot be read, or is that of another network namespace.
        pub(in crate::udp) fn count(&self) -> Option<u64> {
            for _ in 0..ATTEMPTS {
                if let Some(count) = count_of(self.inode, &fs::read_to_string(self.table).ok()?) {
                    let known = self.known.get_or_init(AtomicU64::default);
                    return Some(known.fetch_max(count, Ordering::Relaxed).max(count));
                }
            }
            Some(self.known.get()?.load(Ordering::Relaxed))
        }
    }

    /// The last column of the line of `inode` (`proc_net_udp(5)`).
    fn count_of(inode: u64, table: &str) -> Option<u64> {
        table.lines().skip(1).find_map(|line| {
            let mut columns = line.split_ascii_whitespace();
            let found = columns.nth(9)?.parse() == Ok(inode);
            found.then(|| columns.nth(2)?.parse().ok()).flatten()
        })
    }

    #[cfg(test)]
    mod tests {
        use super::count_of;

        const TABLE: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            \n\
            \x20 123: 0100007F:0277 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 17 2 0000000000000000 0         \n\
            \x201234: 0100007F:0278 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 18 2 0000000000000000 4711      \n";

        #[test]
        fn the_line_of_the_socket_is_found() {
            assert_eq!(count_of(17, TABLE), Some(0));
            assert_eq!(count_of(18, TABLE), Some(4711));
            assert_eq!(count_of(19, TABLE), None);
        }

        #[test]
        fn another_form_is_none() {
            for table in [
                "",
                "\n",
                "a\nb c\n",
                "\n1 2 3 4 5 6 7 8 9 17\n",
                "\n1 2 3 4 5 6 7 8 9 17 a b c",
            ] {
                assert_eq!(count_of(17, table), None, "{table:?}");
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    /// This system does not tell.
    #[derive(Debug)]
    pub(in crate::udp) struct Drops {}

    impl Drops {
        pub(in crate::udp) fn of<S>(_: &S, _: bool) -> Option<Self> {
            None
        }

        pub(in crate::udp) fn count(&self) -> Option<u64> {
            None
        }
    }
}

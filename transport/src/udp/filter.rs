//! What a socket does not hear: packets from one address, which the system drops before it queues them.

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::drop_from;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use other::drop_from;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::io;
    use std::net::{IpAddr, SocketAddr};

    use socket2::{SockFilter, SockRef};

    // Instructions of the classic packet filter (`linux/filter.h`, `linux/bpf_common.h`).
    const LOAD_HALF: u16 = 0x28;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// Offsets from here on count from the IP header; others from the UDP header.
    const IP_HEADER: u32 = 0xfff0_0000;
    const V4_SOURCE: u32 = IP_HEADER + 12;
    const V6_SOURCE: u32 = IP_HEADER + 8;

    pub(in crate::udp) fn drop_from(socket: &SockRef<'_>, source: SocketAddr) -> io::Result<()> {
        let filter: Vec<_> = program(source)
            .into_iter()
            .map(|(code, if_so, if_not, value)| SockFilter::new(code, if_so, if_not, value))
            .collect();
        socket.attach_filter(&filter)
    }

    /// Compares one field after the other; whatever differs accepts the packet.
    pub(in crate::udp) fn program(source: SocketAddr) -> Vec<(u16, u8, u8, u32)> {
        let mut fields = vec![(LOAD_HALF, 0, u32::from(source.port()))];
        match source.ip() {
            IpAddr::V4(ip) => fields.push((LOAD_WORD, V4_SOURCE, u32::from(ip))),
            IpAddr::V6(ip) => {
                let words = ip.octets();
                let words = words.as_chunks::<4>().0.iter();
                let words = words.zip((V6_SOURCE..).step_by(4));
                fields.extend(words.map(|(word, at)| (LOAD_WORD, at, u32::from_be_bytes(*word))));
            }
        }
        let mut program = Vec::new();
        let count = fields.len();
        for (index, (load, at, value)) in fields.into_iter().enumerate() {
            // Over the other comparisons, and over the refusal.
            let accept = 2 * (count - index - 1) + 1;
            program.push((load, 0, 0, at));
            program.push((JUMP_IF_EQUAL, 0, accept as u8, value));
        }
        program.push((RETURN, 0, 0, 0));
        program.push((RETURN, 0, 0, u32::MAX));
        program
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn whatever_differs_leads_to_the_end() {
            for source in ["192.0.2.1:7", "[2001:db8::1]:7"] {
                let program = program(source.parse().unwrap());
                let last = program.len() - 1;
                for (at, (code, _, if_not, _)) in program.iter().enumerate() {
                    if *code == JUMP_IF_EQUAL {
                        assert_eq!(at + 1 + usize::from(*if_not), last);
                    }
                }
                assert_eq!((program[last - 1].3, program[last].3), (0, u32::MAX));
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod other {
    use std::io;
    use std::net::SocketAddr;

    use socket2::SockRef;

    pub(in crate::udp) fn drop_from(_: &SockRef<'_>, _: SocketAddr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

//! Several hosts on one switch, each a network namespace.

use std::ffi::OsStr;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::fault::{Link, Share, hardware, interface, port, ruleset, shaping};
use super::namespace::Namespace;
use super::{NEEDS, access};
use crate::setup;

/// How long the links may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hosts on one switch, and the faults of their links. Everything is gone when it is dropped, and also when this
/// process dies: the namespaces, and the programs that still run in them.
///
/// Making one needs the right to make network namespaces; a command calls [`enter`](super::enter) first.
#[derive(Debug)]
pub struct Lab {
    /// One for each host, or one for all when they share a loopback interface.
    namespaces: Vec<Namespace>,
    /// Where the hosts' links meet; none on a loopback interface.
    switch: Option<Namespace>,
    links: Vec<Link>,
    is_segmenting: bool,
}

impl Lab {
    /// The most hosts of a lab.
    pub const MAX_HOSTS: usize = 64;

    /// Hosts on one switch: host 0 is 10.77.0.1, host 1 is 10.77.0.2 and so on, all in one network of 1500 bytes a
    /// packet, with multicast. The links are up when this returns, and the hosts know each other's hardware addresses,
    /// so that the first packet is as quick as any other.
    ///
    /// # Errors
    /// When there are no or too many hosts, a system package is missing (the message has the line that installs it),
    /// or the system does not allow it.
    pub fn new(hosts: usize) -> Result<Self> {
        check_count(hosts)?;
        let switch = Namespace::new("switch")?;
        let mut namespaces = Vec::with_capacity(hosts);
        for host in 0..hosts {
            namespaces.push(Namespace::new(&format!("host{host}"))?);
        }
        let mut cabling = String::from("link add br0 type bridge mcast_snooping 0\nlink set br0 up\n");
        for (host, namespace) in namespaces.iter().enumerate() {
            let (port, interface, hardware) = (port(host), interface(host), hardware(host));
            let pid = namespace.pid();
            let _ = writeln!(
                cabling,
                "link add name {port} type veth peer name {interface} address {hardware} netns {pid}\n\
                 link set {port} master br0 up"
            );
        }
        switch.configure("ip", &["-batch", "-"], &cabling)?;
        for (host, namespace) in namespaces.iter().enumerate() {
            namespace.configure("ip", &["-batch", "-"], &host_script(host, hosts))?;
        }
        let lab = Lab {
            namespaces,
            switch: Some(switch),
            links: vec![Link::default(); hosts],
            is_segmenting: true,
        };
        lab.wait_for_links()?;
        Ok(lab)
    }

    /// Hosts that are processes of one machine: all have the address 127.0.0.1 and one loopback interface, which
    /// carries multicast as well. There are no links that could have faults.
    ///
    /// # Errors
    /// As [`new`](Lab::new).
    pub fn loopback(hosts: usize) -> Result<Self> {
        check_count(hosts)?;
        let namespace = Namespace::new("loopback")?;
        namespace.configure(
            "ip",
            &["-batch", "-"],
            "link set lo up multicast on\nroute add 224.0.0.0/4 dev lo\n",
        )?;
        Ok(Lab {
            namespaces: vec![namespace],
            switch: None,
            links: vec![Link::default(); hosts],
            is_segmenting: true,
        })
    }

    /// How many hosts there are.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.links.len()
    }

    /// The address of a host.
    #[must_use]
    pub fn address(&self, host: usize) -> Ipv4Addr {
        if self.switch.is_some() {
            address(host)
        } else {
            Ipv4Addr::LOCALHOST
        }
    }

    /// A command that runs `program` on a host. Its environment has HOST (the host's index), HOSTS (how many there
    /// are), ADDR (the host's address) and COORDINATOR (that of host 0). The process that is started is the program
    /// itself, so that signals to it reach it.
    ///
    /// It belongs to the host's process group, which ends with the lab. A program that moves itself to another group
    /// or session must end by itself, and keeps the host's namespace until then.
    ///
    /// # Panics
    /// When there is no such host.
    pub fn command(&self, host: usize, program: impl AsRef<OsStr>) -> Command {
        assert!(host < self.hosts(), "there is no host {host}");
        let mut command = self.namespace(host).command(program);
        command
            .env("HOST", host.to_string())
            .env("HOSTS", self.hosts().to_string())
            .env("ADDR", self.address(host).to_string())
            .env("COORDINATOR", self.address(0).to_string())
            .env_remove(access::VARIABLE);
        command
    }

    /// What to type in another terminal to get a shell on a host.
    #[must_use]
    pub fn shell_line(&self, host: usize) -> String {
        let pid = self.namespace(host).pid();
        if access::is_inside() {
            format!("nsenter --target {pid} --user --preserve-credentials --net")
        } else {
            format!("nsenter --target {pid} --net")
        }
    }

    /// Loses this share of the UDP packets to a host, each by its own draw. Turns segmentation offload off.
    ///
    /// # Errors
    /// When there is no such host, the share is none, or the rule cannot be set; the faults are then as before.
    pub fn loss(&mut self, host: usize, percent: f64) -> Result<()> {
        let loss = Share::percent(percent)?;
        self.change(host, |link| link.loss = loss)
    }

    /// Delivers this share of the UDP packets to a host twice, each by its own draw. A copy is not subject to loss.
    /// Turns segmentation offload off.
    ///
    /// # Errors
    /// As [`loss`](Lab::loss).
    pub fn duplicate(&mut self, host: usize, percent: f64) -> Result<()> {
        let duplication = Share::percent(percent)?;
        self.change(host, |link| link.duplication = duplication)
    }

    /// Cuts a host off: nothing passes to it or from it, of any protocol, until [`heal`](Lab::heal).
    ///
    /// # Errors
    /// As [`loss`](Lab::loss).
    pub fn partition(&mut self, host: usize) -> Result<()> {
        self.change(host, |link| link.is_cut = true)
    }

    /// Lets nothing pass from one host to another, of any protocol, until [`heal`](Lab::heal) of the former. What the
    /// latter sends still arrives.
    ///
    /// # Errors
    /// As [`loss`](Lab::loss).
    pub fn block(&mut self, from: usize, to: usize) -> Result<()> {
        self.link(to)?;
        ensure!(from != to, "what host {from} sends to itself takes no link");
        self.change(from, |link| {
            link.blocked.insert(to);
        })
    }

    /// Ends a partition, and what was blocked from this host.
    ///
    /// # Errors
    /// As [`loss`](Lab::loss).
    pub fn heal(&mut self, host: usize) -> Result<()> {
        self.change(host, |link| {
            link.is_cut = false;
            link.blocked.clear();
        })
    }

    /// Limits what passes a host's link in each direction, in Mbit/s; 0 takes the limit away. What would have to wait
    /// for more than 20 ms is dropped.
    ///
    /// # Errors
    /// As [`loss`](Lab::loss).
    pub fn rate(&mut self, host: usize, mbit: f64) -> Result<()> {
        ensure!(
            mbit == 0.0 || (0.01..=100_000.0).contains(&mbit),
            "{mbit} Mbit/s is no rate; it is between 0.01 and 100000, or 0 for no limit"
        );
        let rate = (mbit > 0.0).then_some(mbit);
        let before = self.link(host)?.rate;
        if before == rate {
            return Ok(());
        }
        self.shape(host, rate)?;
        self.links[host].rate = rate;
        Ok(())
    }

    /// Takes all faults away, and turns segmentation offload on again.
    ///
    /// # Errors
    /// When the system refuses; it can be tried again.
    pub fn clear(&mut self) -> Result<()> {
        for host in 0..self.hosts() {
            if self.links[host].rate.is_some() {
                self.shape(host, None)?;
            }
        }
        self.links.fill(Link::default());
        self.apply()?;
        if self.is_segmenting {
            Ok(())
        } else {
            self.segmentation(true)
        }
    }

    /// Whether a host may hand several UDP packets to its link as one large buffer (UDP_SEGMENT, "GSO"), which then
    /// travels through the whole lab in one piece. It is on in a new lab. Faults that pick single packets turn it off,
    /// because the rules would pick large buffers; [`clear`](Lab::clear) turns it on again. Turned off, programs can
    /// still send such buffers, and the kernel cuts them up before they enter the link.
    ///
    /// # Errors
    /// When the hosts share a loopback interface, or the system refuses.
    pub fn segmentation(&mut self, on: bool) -> Result<()> {
        self.switch()?;
        let state = if on { "on" } else { "off" };
        for (host, namespace) in self.namespaces.iter().enumerate() {
            let interface = interface(host);
            namespace.configure("ethtool", &["-K", &interface, "tx-udp-segmentation", state], "")?;
        }
        self.is_segmenting = on;
        Ok(())
    }

    /// Whether a host's link takes large buffers; see [`segmentation`](Lab::segmentation).
    ///
    /// # Errors
    /// As [`segmentation`](Lab::segmentation).
    pub fn has_segmentation(&self, host: usize) -> Result<bool> {
        self.link(host)?;
        let features = self
            .namespace(host)
            .configure("ethtool", &["-k", &interface(host)], "")?;
        Ok(features.contains("tx-udp-segmentation: on"))
    }

    /// The process group of the programs on a host. Its leader, which holds the namespace, ignores all signals but KILL.
    pub(super) fn group(&self, host: usize) -> u32 {
        self.namespace(host).pid()
    }

    /// The processes that hold the namespaces.
    pub(super) fn holders(&self) -> Vec<u32> {
        self.namespaces
            .iter()
            .chain(&self.switch)
            .map(Namespace::pid)
            .collect()
    }

    fn namespace(&self, host: usize) -> &Namespace {
        &self.namespaces[host.min(self.namespaces.len() - 1)]
    }

    fn switch(&self) -> Result<&Namespace> {
        let Some(switch) = &self.switch else {
            bail!("hosts on one loopback interface have no links, so these have no faults");
        };
        Ok(switch)
    }

    fn link(&self, host: usize) -> Result<&Link> {
        self.switch()?;
        let Some(link) = self.links.get(host) else {
            bail!("there is no host {host}; the last one is {}", self.hosts() - 1);
        };
        Ok(link)
    }

    fn change(&mut self, host: usize, change: impl FnOnce(&mut Link)) -> Result<()> {
        let before = self.link(host)?.clone();
        let picked = before.picks_packets();
        change(&mut self.links[host]);
        let prepared = if self.links[host].picks_packets() && !picked && self.is_segmenting {
            self.segmentation(false)
        } else {
            Ok(())
        };
        let result = prepared.and_then(|()| self.apply());
        if result.is_err() {
            self.links[host] = before;
        }
        result
    }

    fn apply(&self) -> Result<()> {
        // Without a switch there are no faults, and none to take away.
        if let Some(switch) = &self.switch {
            switch.configure("nft", &["-f", "-"], &ruleset(&self.links))?;
        }
        Ok(())
    }

    fn shape(&self, host: usize, rate: Option<f64>) -> Result<()> {
        let ends = [
            (self.namespace(host), interface(host)),
            (self.switch()?, port(host)),
        ];
        for (namespace, device) in ends {
            let words = shaping(&device, rate);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            namespace.configure("tc", &words, "")?;
        }
        Ok(())
    }

    fn wait_for_links(&self) -> Result<()> {
        let switch = self.switch()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ports = switch.configure("bridge", &["link", "show"], "")?;
            let up = ports.matches("state forwarding").count();
            if up >= self.hosts() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("only {up} of {} links came up within {PATIENCE:?}", self.hosts());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // All at once, and then each is waited for.
        for namespace in self.namespaces.iter_mut().chain(&mut self.switch) {
            namespace.release();
        }
    }
}

fn check_count(hosts: usize) -> Result<()> {
    ensure!(
        (1..=Lab::MAX_HOSTS).contains(&hosts),
        "a lab has between 1 and {} hosts, not {hosts}",
        Lab::MAX_HOSTS
    );
    let missing = setup::missing(&NEEDS);
    if !missing.is_empty() {
        bail!(
            "system packages are missing; run this (or your system's equivalent) and try again:\n    {}",
            setup::install_line(&missing)
        );
    }
    Ok(())
}

fn address(host: usize) -> Ipv4Addr {
    // Few hosts: see MAX_HOSTS.
    Ipv4Addr::new(10, 77, 0, host as u8 + 1)
}

/// What `ip -batch` does in a host.
fn host_script(host: usize, hosts: usize) -> String {
    let interface = interface(host);
    let mut script = format!(
        "link set lo up\naddr add {}/24 dev {interface}\nlink set {interface} up\nroute add 224.0.0.0/4 dev {interface}\n",
        address(host)
    );
    for other in (0..hosts).filter(|&other| other != host) {
        let _ = writeln!(
            script,
            "neigh replace {} lladdr {} dev {interface} nud permanent",
            address(other),
            hardware(other)
        );
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_knows_all_others() {
        let script = host_script(1, 3);
        for line in [
            "addr add 10.77.0.2/24 dev v1",
            "route add 224.0.0.0/4 dev v1",
            "neigh replace 10.77.0.1 lladdr 02:fb:00:00:00:00 dev v1 nud permanent",
            "neigh replace 10.77.0.3 lladdr 02:fb:00:00:00:02 dev v1 nud permanent",
        ] {
            assert!(script.lines().any(|found| found == line), "{line}\n{script}");
        }
        assert_eq!(script.matches("neigh").count(), 2);
    }

    #[test]
    fn a_lab_without_hosts_is_refused() {
        for hosts in [0, Lab::MAX_HOSTS + 1] {
            let error = Lab::new(hosts).unwrap_err().to_string();
            assert!(error.contains("between 1 and"), "{error}");
        }
    }
}

//! Where a host is, as far as its name tells.
//!
//! Why: docs/decisions/69-hosts-have-a-place.md

use std::fmt;
use std::net::IpAddr;

/// Where a host is. A registry says to which hosts a client goes on: to its token server, to the storage behind it. This machine reaches
/// more hosts than a registry does, and must not be sent to those.
///
/// Only names and addresses are judged. A name of the network may stand for an address of any kind, as it may for a browser.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Place {
    /// On the network.
    Network,
    /// This machine.
    ThisMachine,
    /// On the link of this machine, where clouds give machines their credentials.
    ThisLink,
    /// Where only a [dialer](crate::Dial) knows the way to, in its words: "Namespace a of the cluster".
    Behind(String),
}

impl Place {
    /// Returns where `host` is: a DNS name, or an IP address with or without brackets.
    pub fn of(host: &str) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        if let Ok(address) = address.parse::<IpAddr>() {
            return Self::of_address(address);
        }
        let last = host.rsplit('.').next().unwrap_or_default();
        // `2130706433`, `127.1` and `0x7f.1` are addresses as well to whoever looks them up.
        // Source: POSIX, `inet_addr`; WHATWG, URL Standard, "ends in a number".
        let is_number = match last.strip_prefix("0x") {
            Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
        };
        if last == "localhost" || is_number { Self::ThisMachine } else { Self::Network }
    }

    fn of_address(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let is_of_link = match address {
            IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        if address.is_loopback() || address.is_unspecified() {
            Self::ThisMachine
        } else if is_of_link || address.is_multicast() {
            Self::ThisLink
        } else {
            Self::Network
        }
    }

    /// Whether a registry that is here may lead to a host that is at `other`.
    pub(crate) fn may_lead_to(&self, other: &Self) -> bool {
        *other == Self::Network || self == other
    }
}

/// "it leads to x, which is …".
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("on the network"),
            Self::ThisMachine => f.write_str("this machine"),
            Self::ThisLink => f.write_str("on the link of this machine"),
            Self::Behind(place) => write!(f, "in {place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_s_place_shows_in_all_spellings_of_its_name() {
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "::1",
            "0.0.0.0",
            "[::]",
            "[::ffff:127.0.0.1]",
            "localhost",
            "LOCALHOST.",
            "x.localhost",
            "2130706433",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "017700000001",
        ] {
            assert_eq!(Place::of(host), Place::ThisMachine, "{host}");
        }
        for host in
            ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "224.0.0.1", "255.255.255.255"]
        {
            assert_eq!(Place::of(host), Place::ThisLink, "{host}");
        }
        for host in [
            "r.example",
            "localhost.example",
            "10.0.0.1",
            "[2001:db8::1]",
            "r",
            "r.0xample",
            "8.8.8.8",
            "1e100",
        ] {
            assert_eq!(Place::of(host), Place::Network, "{host}");
        }
    }

    #[test]
    fn everybody_leads_to_the_network_and_to_the_own_place() {
        let cluster = |name: &str| Place::Behind(name.to_owned());
        assert!(
            Place::ThisMachine.may_lead_to(&Place::Network)
                && Place::ThisMachine.may_lead_to(&Place::ThisMachine)
        );
        assert!(cluster("a").may_lead_to(&cluster("a")) && !cluster("a").may_lead_to(&cluster("b")));
        assert!(
            !Place::Network.may_lead_to(&Place::ThisMachine) && !Place::Network.may_lead_to(&cluster("a"))
        );
    }
}

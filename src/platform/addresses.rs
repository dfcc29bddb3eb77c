//! The host's addresses that media may use.

use std::io;
use std::net::IpAddr;

use crate::config::MediaConfig;

/// The addresses to bind sockets for media to: those configured, or those of the host's interfaces
/// that the configuration lets through, sorted, each once.
///
/// # Errors
///
/// When the kernel does not tell the interfaces.
pub(super) fn media_addresses(config: &MediaConfig) -> io::Result<Vec<IpAddr>> {
    if !config.ips.is_empty() {
        return Ok(each_once(config.ips.clone()));
    }
    let interfaces = if_addrs::get_if_addrs()?;
    let wanted = interfaces
        .iter()
        .filter(|interface| interface.is_oper_up())
        .filter(|interface| config.gathers(&interface.name, interface.ip()))
        .map(|interface| interface.ip());
    Ok(each_once(wanted.collect()))
}

fn each_once(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostPattern;

    fn check(config: &MediaConfig, wanted: impl Fn(IpAddr) -> bool) {
        let found = media_addresses(config).unwrap();
        assert!(found.iter().all(|address| wanted(*address)), "{found:?}");
    }

    #[test]
    fn loopback_is_found_only_when_it_is_named() {
        check(&MediaConfig::default(), |address| !address.is_loopback());
        let named = MediaConfig {
            ice_enforce_list: vec![HostPattern::new("lo")],
            ..MediaConfig::default()
        };
        assert_eq!(
            media_addresses(&named).unwrap(),
            ["127.0.0.1".parse::<IpAddr>().unwrap()]
        );
    }

    #[test]
    fn configured_addresses_are_taken_as_they_are_and_once() {
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        let config = MediaConfig {
            ips: vec![far, far],
            ..MediaConfig::default()
        };
        assert_eq!(media_addresses(&config).unwrap(), [far]);
    }
}

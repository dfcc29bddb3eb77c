//! The checks themselves: what is read, and what is thought of it.

use super::Opinion;
use super::Verdict::{Advice, Bad};
use super::facts::Facts;

/// One check.
pub(super) struct Check {
    pub(super) name: &'static str,
    /// Its page in `tuning/`.
    pub(super) page: &'static str,
    pub(super) look: fn(&Facts) -> Opinion,
}

const fn check(name: &'static str, page: &'static str, look: fn(&Facts) -> Opinion) -> Check {
    Check { name, page, look }
}

/// All of them: first what the gateway cannot do without.
pub(super) const CHECKS: &[Check] = &[
    check("io_uring", "io_uring.md", io_uring),
    check("locked memory", "memlock.md", locked_memory),
    check("descriptors", "descriptors.md", descriptors),
    check("UDP receive buffer", "udp.md", udp_receive_buffer),
    check("UDP send buffer", "udp.md", udp_send_buffer),
    check("UDP memory", "udp.md", udp_memory),
    check("UDP offload", "offload.md", offload),
    check("TCP backlog", "backlog.md", tcp_backlog),
    check("packet backlog", "backlog.md", packet_backlog),
    check("cores", "cores.md", cores),
    check("CPU quota", "cgroups.md", cpu_quota),
    check("memory limit", "cgroups.md", memory_limit),
    check("frequency governor", "governor.md", governor),
    check("idle states", "governor.md", idle_states),
    check("receive queues", "interrupts.md", receive_queues),
    check("NUMA", "numa.md", numa),
    check("connection tracking", "conntrack.md", connection_tracking),
];

/// What the gateway asks for, in `platform/bind.rs`.
const SOCKET_BUFFER_BYTES: u64 = 4 << 20;
const DESCRIPTORS_WISHED: u64 = 65_536;
const DESCRIPTORS_MIN: u64 = 1_024;
const MEMLOCK_SHARD_BYTES: u64 = 512 * 1024;
const BACKLOG_WISHED: u64 = 4_096;
const PACKET_BACKLOG_WISHED: u64 = 4_096;
/// Waking up from a deeper state takes longer than forwarding a packet to fifty viewers.
const WAKE_UP_US_MAX: u64 = 100;
const PAGE_BYTES: u64 = 4_096;

fn io_uring(facts: &Facts) -> Opinion {
    match &facts.ring_trouble {
        None => Opinion::good("a ring was made"),
        Some(trouble) => {
            let switch = facts.read("proc/sys/kernel/io_uring_disabled");
            let switch = switch.unwrap_or_else(|| "missing".to_owned());
            let found = format!("no ring can be made; kernel.io_uring_disabled is {switch}");
            Opinion::new(Bad, found, trouble.clone())
        }
    }
}

fn locked_memory(facts: &Facts) -> Opinion {
    let Some(bytes) = facts.memlock_bytes else {
        return Opinion::good("no limit");
    };
    let needed = MEMLOCK_SHARD_BYTES * facts.cores as u64;
    let found = format!("{} KiB may be locked", bytes / 1024);
    if bytes >= needed {
        return Opinion::good(found);
    }
    let remedy = format!(
        "{} KiB for this many cores: LimitMEMLOCK=, ulimit -l",
        needed / 1024
    );
    Opinion::new(Bad, found, remedy)
}

fn descriptors(facts: &Facts) -> Opinion {
    let Some(count) = facts.descriptors else {
        return Opinion::good("no limit");
    };
    let found = format!("{count} at most");
    let remedy = format!("{DESCRIPTORS_WISHED} or more: LimitNOFILE=, ulimit -n");
    match count {
        0..DESCRIPTORS_MIN => Opinion::new(Bad, found, remedy),
        DESCRIPTORS_MIN..DESCRIPTORS_WISHED => Opinion::new(Advice, found, remedy),
        DESCRIPTORS_WISHED.. => Opinion::good(found),
    }
}

fn udp_receive_buffer(facts: &Facts) -> Opinion {
    at_least(facts, "net.core.rmem_max", SOCKET_BUFFER_BYTES)
}

fn udp_send_buffer(facts: &Facts) -> Opinion {
    at_least(facts, "net.core.wmem_max", SOCKET_BUFFER_BYTES)
}

/// A sysctl that should be this or more.
fn at_least(facts: &Facts, name: &str, wanted: u64) -> Opinion {
    let path = format!("proc/sys/{}", name.replace('.', "/"));
    match facts.number(&path) {
        None => Opinion::unknown(format!("{name} cannot be read")),
        Some(value) if value >= wanted => Opinion::good(format!("{name} is {value}")),
        Some(value) => Opinion::new(
            Advice,
            format!("{name} is {value}"),
            format!("sysctl -w {name}={wanted}"),
        ),
    }
}

/// All sockets together: as much as each shard's two sockets may hold.
fn udp_memory(facts: &Facts) -> Opinion {
    let limits = facts.read("proc/sys/net/ipv4/udp_mem").unwrap_or_default();
    let pages: Vec<u64> = limits
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [_, _, pages] = pages[..] else {
        return Opinion::unknown("net.ipv4.udp_mem cannot be read");
    };
    let wanted = 4 * SOCKET_BUFFER_BYTES * facts.cores as u64 / PAGE_BYTES;
    let found = format!("net.ipv4.udp_mem allows {pages} pages");
    if pages >= wanted {
        return Opinion::good(found);
    }
    let (low, pressure) = (wanted / 2, wanted * 3 / 4);
    let remedy = format!("sysctl -w net.ipv4.udp_mem='{low} {pressure} {wanted}'");
    Opinion::new(Advice, found, remedy)
}

fn offload(facts: &Facts) -> Opinion {
    let Some(offload) = facts.offload else {
        return Opinion::unknown("no UDP socket can be made");
    };
    let (send, receive) = (offload.send_segments, offload.receive_segments);
    let found = format!("{send} datagrams a call to send, {receive} to receive");
    if send > 1 && receive > 1 {
        return Opinion::good(found);
    }
    let remedy = "Linux 5.0 or newer, and no container that intercepts socket calls";
    Opinion::new(Advice, found, remedy)
}

fn tcp_backlog(facts: &Facts) -> Opinion {
    at_least(facts, "net.core.somaxconn", BACKLOG_WISHED)
}

fn packet_backlog(facts: &Facts) -> Opinion {
    at_least(facts, "net.core.netdev_max_backlog", PACKET_BACKLOG_WISHED)
}

fn cores(facts: &Facts) -> Opinion {
    let online = facts.read("sys/devices/system/cpu/online");
    let online = online.as_deref().and_then(count_of);
    let usable = facts.cores;
    match online {
        Some(online) if online > usable => Opinion::good(format!("{usable} of {online}")),
        Some(_) | None if usable == 1 => Opinion::new(
            Advice,
            "one",
            "give it two or more: with one, everything that the host does delays media",
        ),
        Some(_) | None => Opinion::good(format!("all {usable}")),
    }
}

/// How many numbers a list such as `0-3,8` names.
fn count_of(list: &str) -> Option<usize> {
    let ranges = list.split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(last + 1 - first)
    });
    ranges.sum()
}

/// The folder of the process's control group.
fn control_group(facts: &Facts) -> Option<String> {
    let groups = facts.read("proc/self/cgroup")?;
    let unified = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(format!("sys/fs/cgroup/{unified}"))
}

fn cpu_quota(facts: &Facts) -> Opinion {
    let Some(group) = control_group(facts) else {
        return Opinion::unknown("no unified control group");
    };
    let Some(max) = facts.read(&format!("{group}/cpu.max")) else {
        return Opinion::good("none");
    };
    let mut words = max.split_whitespace();
    let quota = words.next().and_then(|word| word.parse::<f64>().ok());
    let period = words.next().and_then(|word| word.parse::<f64>().ok());
    match quota.zip(period) {
        None => Opinion::good("none"),
        Some((quota, period)) => Opinion::new(
            Advice,
            format!("{:.1} cores' worth of {}", quota / period, facts.cores),
            "bind it to whole cores instead (AllowedCPUs=, --cpuset-cpus): a quota that is used \
             up stops all media until the period ends",
        ),
    }
}

fn memory_limit(facts: &Facts) -> Opinion {
    let Some(group) = control_group(facts) else {
        return Opinion::unknown("no unified control group");
    };
    let read = |name: &str| facts.number(&format!("{group}/{name}"));
    match (read("memory.high"), read("memory.max")) {
        (None, None) => Opinion::good("none"),
        (Some(high), _) => Opinion::good(format!("slowed down from {} MiB on", high >> 20)),
        (None, Some(max)) => Opinion::new(
            Advice,
            format!("killed at {} MiB", max >> 20),
            "set MemoryHigh= below MemoryMax=: the kernel slows a process down there, and does not end it",
        ),
    }
}

fn governor(facts: &Facts) -> Opinion {
    let path = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    match facts.read(path) {
        None => Opinion::unknown("the host does not show it, as in a virtual machine"),
        Some(governor) if governor == "performance" => Opinion::good(governor),
        Some(governor) => Opinion::new(
            Advice,
            governor,
            "cpupower frequency-set -g performance: cores that clock up late are late with packets",
        ),
    }
}

fn idle_states(facts: &Facts) -> Opinion {
    let folder = "sys/devices/system/cpu/cpu0/cpuidle";
    let states = facts.names(folder);
    let wake_ups = states.iter().filter_map(|state| {
        let is_off = facts.number(&format!("{folder}/{state}/disable")) == Some(1);
        let latency = facts.number(&format!("{folder}/{state}/latency"));
        latency.filter(|_| !is_off)
    });
    match wake_ups.max() {
        None => Opinion::unknown("the host does not show them, as in a virtual machine"),
        Some(most) if most <= WAKE_UP_US_MAX => Opinion::good(format!("up again in {most} us")),
        Some(most) => Opinion::new(
            Advice,
            format!("the deepest takes {most} us to wake up from"),
            format!("cpupower idle-set -D {WAKE_UP_US_MAX}, if latency is worth the power"),
        ),
    }
}

/// Interfaces of hardware, and whether more than one core takes in what comes.
fn receive_queues(facts: &Facts) -> Opinion {
    let mut narrow = Vec::new();
    let mut seen = Vec::new();
    for name in facts.names("sys/class/net") {
        let folder = format!("sys/class/net/{name}");
        if !facts.exists(&format!("{folder}/device")) {
            continue;
        }
        let queues = facts.names(&format!("{folder}/queues"));
        let queues: Vec<_> = queues
            .iter()
            .filter(|each| each.starts_with("rx-"))
            .collect();
        let is_spread = queues.len() > 1
            || queues.iter().any(|queue| {
                let cores = facts.read(&format!("{folder}/queues/{queue}/rps_cpus"));
                cores
                    .is_some_and(|cores| cores.contains(|digit: char| ('1'..='f').contains(&digit)))
            });
        seen.push(format!("{name} has {}", queues.len()));
        if !is_spread && facts.cores > 1 {
            narrow.push(name);
        }
    }
    let found = seen.join(", ");
    match narrow.first() {
        None if seen.is_empty() => Opinion::unknown("no interface of hardware"),
        None => Opinion::good(found),
        Some(name) => {
            let mask = (1_u128 << facts.cores.min(32)) - 1;
            Opinion::new(
                Advice,
                found,
                format!(
                    "more queues (ethtool -L {name} combined N), or else \
                     echo {mask:x} >/sys/class/net/{name}/queues/rx-0/rps_cpus"
                ),
            )
        }
    }
}

fn numa(facts: &Facts) -> Opinion {
    let nodes = facts.read("sys/devices/system/node/online");
    match nodes.as_deref().and_then(count_of) {
        None => Opinion::unknown("the host does not show its nodes"),
        Some(1) => Opinion::good("one node"),
        Some(nodes) => Opinion::new(
            Advice,
            format!("{nodes} nodes"),
            "one gateway for each node (numactl --cpunodebind=N --membind=N), next to its card",
        ),
    }
}

fn connection_tracking(facts: &Facts) -> Opinion {
    match facts.number("proc/sys/net/netfilter/nf_conntrack_max") {
        None => Opinion::good("off"),
        Some(most) => Opinion::new(
            Advice,
            format!("on, for {most} connections"),
            "fix the media ports with media.port_base, and leave them out of it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::Verdict::{Good, Unknown};
    use super::*;
    use crate::platform::doctor::Verdict;

    /// A host of files, which is gone at the end of the test.
    struct Host(PathBuf);

    impl Host {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = format!("bifrons-doctor-{}-{name}", std::process::id());
            let root = std::env::temp_dir().join(root);
            for (path, text) in files {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Self(root)
        }

        fn facts(&self) -> Facts {
            Facts::of_a_test(&self.0)
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            // A host without files has no folder.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[track_caller]
    fn assert_says(opinion: &Opinion, verdict: Verdict, remedy: &str) {
        assert_eq!(opinion.verdict, verdict, "{opinion:?}");
        assert!(opinion.remedy.contains(remedy), "{opinion:?}");
        assert_eq!(remedy.is_empty(), opinion.remedy.is_empty(), "{opinion:?}");
    }

    #[test]
    fn a_buffer_that_is_too_small_gets_the_line_that_sets_it() {
        let small = Host::new("small", &[("proc/sys/net/core/rmem_max", "212992\n")]);
        let remedy = "sysctl -w net.core.rmem_max=4194304";
        assert_says(&udp_receive_buffer(&small.facts()), Advice, remedy);
        let large = Host::new("large", &[("proc/sys/net/core/rmem_max", "8388608\n")]);
        assert_says(&udp_receive_buffer(&large.facts()), Good, "");
        assert_says(&udp_send_buffer(&large.facts()), Unknown, "");
        let memory = Host::new("memory", &[("proc/sys/net/ipv4/udp_mem", "10\t20\t30\n")]);
        assert_says(&udp_memory(&memory.facts()), Advice, "'8192 12288 16384'");
    }

    #[test]
    fn what_keeps_the_gateway_from_starting_is_bad() {
        let host = Host::new("limits", &[("proc/sys/kernel/io_uring_disabled", "2")]);
        let mut facts = host.facts();
        assert_says(&io_uring(&facts), Good, "");
        facts.ring_trouble = Some("allow it".to_owned());
        assert_says(&io_uring(&facts), Bad, "allow it");
        assert!(io_uring(&facts).found.ends_with("is 2"));
        assert_says(&locked_memory(&facts), Good, "");
        facts.memlock_bytes = Some(64 << 10);
        assert_says(&locked_memory(&facts), Bad, "2048 KiB");
        assert_says(&descriptors(&facts), Good, "");
        facts.descriptors = Some(20_000);
        assert_says(&descriptors(&facts), Advice, "LimitNOFILE");
        facts.descriptors = Some(512);
        assert_says(&descriptors(&facts), Bad, "LimitNOFILE");
        facts.descriptors = None;
        assert_says(&descriptors(&facts), Good, "");
    }

    #[test]
    fn a_quota_is_worse_than_a_set_of_cores() {
        let group = ("proc/self/cgroup", "0::/a.slice/b.service\n");
        let max = "sys/fs/cgroup/a.slice/b.service/cpu.max";
        let host = Host::new("quota", &[group, (max, "150000 100000\n")]);
        let opinion = cpu_quota(&host.facts());
        assert_says(&opinion, Advice, "AllowedCPUs");
        assert!(opinion.found.starts_with("1.5 cores"), "{opinion:?}");
        let host = Host::new("no-quota", &[group, (max, "max 100000\n")]);
        assert_says(&cpu_quota(&host.facts()), Good, "");
        assert_says(&memory_limit(&host.facts()), Good, "");
        let memory = "sys/fs/cgroup/a.slice/b.service/memory.max";
        let host = Host::new("memory-max", &[group, (memory, "1073741824\n")]);
        assert_says(&memory_limit(&host.facts()), Advice, "MemoryHigh");
        let host = Host::new("no-group", &[]);
        assert_says(&cpu_quota(&host.facts()), Unknown, "");
    }

    #[test]
    fn sleep_that_is_too_deep_is_told_unless_it_is_off() {
        let path =
            |state: &str, name: &str| format!("sys/devices/system/cpu/cpu0/cpuidle/{state}/{name}");
        let files = |off: &'static str| {
            [
                (path("state0", "latency"), "2"),
                (path("state1", "latency"), "400"),
                (path("state1", "disable"), off),
            ]
        };
        for (name, off, verdict, remedy) in [
            ("deep", "0", Advice, "idle-set"),
            ("shallow", "1", Good, ""),
        ] {
            let files = files(off);
            let files: Vec<_> = files
                .iter()
                .map(|(path, text)| (path.as_str(), *text))
                .collect();
            let host = Host::new(name, &files);
            assert_says(&idle_states(&host.facts()), verdict, remedy);
        }
    }

    #[test]
    fn one_queue_is_enough_only_when_its_packets_are_spread() {
        let device = ("sys/class/net/eth0/device/vendor", "0x1af4");
        let queue = "sys/class/net/eth0/queues/rx-0/rps_cpus";
        let host = Host::new("one-queue", &[device, (queue, "00000000\n")]);
        assert_says(&receive_queues(&host.facts()), Advice, "echo f >/sys");
        let host = Host::new("spread", &[device, (queue, "0000000f\n")]);
        assert_says(&receive_queues(&host.facts()), Good, "");
        let host = Host::new("no-card", &[("sys/class/net/lo/queues/rx-0/rps_cpus", "0")]);
        assert_says(&receive_queues(&host.facts()), Unknown, "");
    }

    #[test]
    fn lists_of_numbers_are_counted() {
        assert_eq!(count_of("0"), Some(1));
        assert_eq!(count_of("0-3,8,10-11"), Some(7));
        assert_eq!(count_of("x"), None);
    }

    #[test]
    fn a_host_that_shows_nothing_is_unknown_and_not_bad() {
        let host = Host::new("nothing", &[]);
        for check in CHECKS {
            let opinion = (check.look)(&host.facts());
            assert_ne!(opinion.verdict, Bad, "{}: {opinion:?}", check.name);
        }
    }
}

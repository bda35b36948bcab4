use crate::decode::Fields;
use crate::node::Node;
use crate::problem::{Issue, Problems};

/// What a container may use at most and is sure to get, as Kubernetes reserves it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resources {
    /// What it may use at most.
    pub limits: ResourceAmounts,
    /// What it is sure to get.
    pub requests: ResourceAmounts,
}

/// Amounts of processor, memory and disk.
///
/// ```
/// let limits = garden_config::Resources::builder().limits;
/// assert_eq!((limits.cpu_quantity(), limits.memory_quantity()), ("4".to_owned(), "8Gi".to_owned()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceAmounts {
    /// Thousandths of a processor.
    pub cpu: u32,
    /// Memory in MiB. Garden's documentation says megabytes, but it has always meant MiB.
    pub memory: u32,
    /// Disk for the container's own files, in MiB; `None` leaves it to the cluster.
    pub ephemeral_storage: Option<u32>,
}

impl Resources {
    /// Returns the defaults for builders: limits of 4 processors and 8 GiB, requests of a tenth of a
    /// processor and 512 MiB.
    pub fn builder() -> Self {
        Self {
            limits: ResourceAmounts { cpu: 4000, memory: 8192, ephemeral_storage: None },
            requests: ResourceAmounts { cpu: 100, memory: 512, ephemeral_storage: None },
        }
    }

    /// Reads `resources.builder`; each part that is left out keeps its default.
    pub(crate) fn read(node: &Node, defaults: Self, problems: &Problems) -> Self {
        let Some(fields) = Fields::open(node, "`resources.builder`", problems) else { return defaults };
        let amounts = |name, what, default| {
            fields.node(name).map_or(default, |node| ResourceAmounts::read(node, what, default, problems))
        };
        let resources = Self {
            limits: amounts("limits", "`limits`", defaults.limits),
            requests: amounts("requests", "`requests`", defaults.requests),
        };
        fields.finish_with(|| resources.issues());
        resources
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let exceeds = |field, request: u32, limit: u32, unit| {
            (request > limit).then(|| {
                let message = format!("the request of {request} {unit} exceeds the limit of {limit} {unit}");
                let hint = format!("lower `requests.{field}` or raise `limits.{field}`");
                Issue::new(&format!("requests.{field}"), message, hint)
            })
        };
        let (limits, requests) = (&self.limits, &self.requests);
        let storage = limits.ephemeral_storage.zip(requests.ephemeral_storage);
        let issues = [
            exceeds("cpu", requests.cpu, limits.cpu, "millicpu"),
            exceeds("memory", requests.memory, limits.memory, "MiB"),
            storage.and_then(|(limit, request)| exceeds("ephemeralStorage", request, limit, "MiB")),
        ];
        issues.into_iter().flatten().collect()
    }
}

impl ResourceAmounts {
    /// Returns the processors as a Kubernetes quantity: `4`, `100m`.
    pub fn cpu_quantity(&self) -> String {
        if self.cpu.is_multiple_of(1000) { (self.cpu / 1000).to_string() } else { format!("{}m", self.cpu) }
    }

    /// Returns the memory as a Kubernetes quantity: `8Gi`, `512Mi`.
    pub fn memory_quantity(&self) -> String {
        mebibytes(self.memory)
    }

    /// Returns the disk as a Kubernetes quantity, if it is set.
    pub fn ephemeral_storage_quantity(&self) -> Option<String> {
        self.ephemeral_storage.map(mebibytes)
    }

    fn read(node: &Node, what: &str, default: Self, problems: &Problems) -> Self {
        let Some(fields) = Fields::open(node, what, problems) else { return default };
        // Zero would mean "no limit" to Kubernetes, which nobody means who writes a limit.
        let amount = |name| fields.integer(name, 1..=i64::from(u32::MAX));
        let amounts = Self {
            cpu: amount("cpu").unwrap_or(default.cpu),
            memory: amount("memory").unwrap_or(default.memory),
            ephemeral_storage: amount("ephemeralStorage").or(default.ephemeral_storage),
        };
        fields.finish();
        amounts
    }
}

/// Writes MiB with the largest binary suffix that is exact.
pub(crate) fn mebibytes(amount: u32) -> String {
    let mut amount = amount;
    let mut suffixes = ["Mi", "Gi", "Ti", "Pi"].into_iter();
    let mut suffix = suffixes.next().unwrap_or_default();
    while amount != 0 && amount.is_multiple_of(1024) {
        let Some(larger) = suffixes.next() else { break };
        amount /= 1024;
        suffix = larger;
    }
    format!("{amount}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_quantities_as_garden_does() {
        let amounts = |cpu, memory| ResourceAmounts { cpu, memory, ephemeral_storage: Some(20_480) };
        let written =
            |cpu, memory| (amounts(cpu, memory).cpu_quantity(), amounts(cpu, memory).memory_quantity());
        let pair = |cpu: &str, memory: &str| (cpu.to_owned(), memory.to_owned());
        assert_eq!(written(4000, 8192), pair("4", "8Gi"));
        assert_eq!(written(1500, 1536), pair("1500m", "1536Mi"));
        assert_eq!(written(100, 1_048_576), pair("100m", "1Ti"));
        assert_eq!(amounts(1, 1).ephemeral_storage_quantity().as_deref(), Some("20Gi"));
    }
}

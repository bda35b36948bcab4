use serde::Serialize;

use crate::document::decode::Fields;
use crate::document::issue::Issue;
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::provider::names::{mebibytes, no_effect};

/// What the containers of a provider may use: the field `resources`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ProviderResources {
    /// For each kaniko pod, each `BuildKit` daemon, and the Docker daemon. Default: [`Resources::builder`].
    #[serde(skip_serializing_if = "Resources::is_default_builder")]
    pub builder: Resources,
    /// For the registry within the cluster. Default: [`Resources::registry`].
    #[serde(skip_serializing_if = "Resources::is_default_registry")]
    pub registry: Resources,
    /// For kaniko's context service. Default: [`Resources::util`], but with a limit of one processor, as its own
    /// would slow down every build.
    #[serde(skip_serializing_if = "Resources::is_default_util")]
    pub util: Resources,
    /// For Garden's sync service. The context service has `resources.util`. Default: [`Resources::sync`].
    #[serde(skip_serializing_if = "Resources::is_default_sync")]
    pub sync: Resources,
}

/// What a container may use at most and is sure to get, as Kubernetes reserves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("required" = [])))]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("required" = [])))]
#[non_exhaustive]
pub struct ResourceAmounts {
    /// Thousandths of a processor.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub cpu: u32,
    /// Memory in MiB. Garden's documentation says megabytes, but it has always meant MiB.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub memory: u32,
    /// Disk for the container's own files, in MiB; `None` leaves it to the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub ephemeral_storage: Option<u32>,
}

impl ProviderResources {
    /// Reads the field `resources`; each part that is left out keeps its default. `syncs` says whether there is a context
    /// service.
    pub(crate) fn read(node: &Node, syncs: bool, problems: &Problems) -> Self {
        let defaults = Self::default();
        let Some(fields) = Fields::open(node, "`resources`", problems) else { return defaults };
        let read = |name, default| match fields.node(name) {
            Some(node) => Resources::read(node, &format!("`resources.{name}`"), default, problems),
            None => default,
        };
        let resources = Self {
            builder: read("builder", defaults.builder),
            registry: read("registry", defaults.registry),
            util: read("util", defaults.util),
            sync: read("sync", defaults.sync),
        };
        for (name, has_effect, reason) in [
            (
                "util",
                syncs,
                "`resources.util` has no effect: it is for `buildMode: kaniko` with `contextDelivery: sync`",
            ),
            ("sync", false, "`resources.sync` has no effect: the context service has `resources.util`"),
        ] {
            if fields.node(name).is_some() && !has_effect {
                no_effect(&format!("resources.{name}"), &fields, reason, problems);
            }
        }
        fields.finish();
        resources
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let all = [
            ("builder", &self.builder),
            ("registry", &self.registry),
            ("util", &self.util),
            ("sync", &self.sync),
        ];
        let within = |(name, resources): (&str, &Resources)| {
            resources.issues().into_iter().map(|issue| issue.within(name)).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(within).collect()
    }
}

impl Default for ProviderResources {
    fn default() -> Self {
        Self {
            builder: Resources::builder(),
            registry: Resources::registry(),
            util: Resources::util(),
            sync: Resources::sync(),
        }
    }
}

impl Resources {
    /// Returns the defaults for builders: limits of 4 processors and 8 GiB, requests of a tenth of a
    /// processor and 512 MiB.
    pub fn builder() -> Self {
        Self { limits: ResourceAmounts::new(4000, 8192), requests: ResourceAmounts::new(100, 512) }
    }

    /// Returns the defaults for the registry within the cluster: limits of 2 processors and 4 GiB, requests
    /// of a fifth of a processor and 512 MiB.
    pub fn registry() -> Self {
        Self { limits: ResourceAmounts::new(2000, 4096), requests: ResourceAmounts::new(200, 512) }
    }

    /// Returns the defaults for kaniko's context service: limits of a quarter of a processor and 512 MiB, requests of a hundredth
    /// of a processor and 32 MiB. Each namespace where builds run has one, which sleeps between builds: what it reserved, no other
    /// pod of the node could. Garden's utility pod, which has other work to do, reserves all of its limits.
    pub fn util() -> Self {
        Self { limits: ResourceAmounts::new(256, 512), requests: ResourceAmounts::new(10, 32) }
    }

    /// Returns the defaults for Garden's sync service: limits of half a processor and 512 MiB, requests of
    /// a tenth of a processor and 90 MiB.
    pub fn sync() -> Self {
        Self { limits: ResourceAmounts::new(500, 512), requests: ResourceAmounts::new(100, 90) }
    }

    fn is_default_builder(&self) -> bool {
        *self == Self::builder()
    }

    fn is_default_registry(&self) -> bool {
        *self == Self::registry()
    }

    fn is_default_util(&self) -> bool {
        *self == Self::util()
    }

    fn is_default_sync(&self) -> bool {
        *self == Self::sync()
    }

    /// Reads the field called `what`; each part that is left out keeps its default.
    fn read(node: &Node, what: &str, defaults: Self, problems: &Problems) -> Self {
        let Some(fields) = Fields::open(node, what, problems) else { return defaults };
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
        let amounts = [("limits", self.limits), ("requests", self.requests)];
        // Zero would mean "no limit" to Kubernetes, which nobody means who writes a limit.
        let zeros = amounts.into_iter().flat_map(|(part, amounts)| {
            let ephemeral_storage = amounts.ephemeral_storage.unwrap_or(1);
            let fields =
                [("cpu", amounts.cpu), ("memory", amounts.memory), ("ephemeralStorage", ephemeral_storage)];
            fields.into_iter().filter(|(_, amount)| *amount == 0).map(move |(field, _)| {
                let message = format!("`{field}` must be a whole number of at least 1");
                Issue::new(&format!("{part}.{field}"), message, "give an amount, or leave the field out")
            })
        });
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
        zeros.chain(issues.into_iter().flatten()).collect()
    }
}

impl ResourceAmounts {
    /// Sets thousandths of a processor, and memory in MiB.
    pub fn new(cpu: u32, memory: u32) -> Self {
        Self { cpu, memory, ephemeral_storage: None }
    }

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

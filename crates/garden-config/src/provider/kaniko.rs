use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::Toleration;
use crate::build::fields::flags;
use crate::document::decode::{Fields, text};
use crate::document::issue::{Issue, item_issues};
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::provider::names::{image_issue, namespace_issue};

/// How kaniko builds: the provider's field `kaniko`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct KanikoOptions {
    /// The image of the kaniko executor, which is also the one of the context service: then it needs a shell at
    /// `/busybox/sh`, as those have whose tags end in `-debug`. Default: [`KanikoOptions::DEFAULT_IMAGE`].
    pub image: String,
    /// How the build context comes to the builder pods. An extension: Garden has no such field. Default:
    /// [`ContextDelivery::Sync`].
    pub context_delivery: ContextDelivery,
    /// Flags for every build, in order; a build's own flags are stronger. Default: none.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::build::shapes::Flag>"))]
    pub extra_flags: Vec<String>,
    /// Where builder pods run. Default: the namespace `garden-system`, as the guide says; set
    /// [`KanikoNamespace::Project`] as it recommends.
    pub namespace: KanikoNamespace,
    /// Labels that a node must have to run builder pods. Default: none.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that builder pods tolerate besides `garden-build=true:NoSchedule`, which they always
    /// do. Default: none.
    pub tolerations: Vec<Toleration>,
    /// Annotations of builder pods. Default: none.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of the service account of builder pods, which gives them an identity at a cloud provider.
    /// Default: none.
    pub service_account_annotations: BTreeMap<String, String>,
    /// How the context service `garden-util` is scheduled. Default: as builder pods are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub util: Option<KanikoUtil>,
}

/// How the build context comes to the builder pods: the field `kaniko.contextDelivery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ContextDelivery {
    /// From a service in their namespace, which keeps contexts: only what it does not have yet is sent there.
    #[default]
    Sync,
    /// Straight into each pod: all of it, for each build.
    Stdin,
}

/// How the context service `garden-util` is scheduled: the field `kaniko.util`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct KanikoUtil {
    /// Labels that a node must have. Default: none.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated. Default: none.
    pub tolerations: Vec<Toleration>,
    /// Annotations of its pod. Default: none.
    pub annotations: BTreeMap<String, String>,
}

/// Where builder pods run. In a project file, `null` is the project's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KanikoNamespace {
    /// In the project's namespace.
    Project,
    /// In the namespace of this name.
    Named(String),
}

const DELIVERIES: [(&str, ContextDelivery); 2] =
    [("sync", ContextDelivery::Sync), ("stdin", ContextDelivery::Stdin)];

impl KanikoOptions {
    /// The executor image that is used unless another is set.
    ///
    /// The project that the guide links to was archived in 2025 and its images are no longer
    /// updated; this is the release of its maintained successor, `osscontainertools/kaniko`, with a shell.
    /// Garden's own default, `gcr.io/kaniko-project/executor:v1.11.0-debug`, works as well.
    pub const DEFAULT_IMAGE: &str = "ghcr.io/osscontainertools/kaniko:v1.28.3-debug";

    /// The namespace that the guide's default means.
    pub const SYSTEM_NAMESPACE: &str = "garden-system";

    /// Reads the field `kaniko`; without a field `namespace`, pods run in `default_namespace`.
    pub(crate) fn read(node: &Node, default_namespace: KanikoNamespace, problems: &Problems) -> Self {
        let Some(fields) = Fields::open(node, "`kaniko`", problems) else { return Self::default() };
        let options = Self {
            image: fields.text("image").unwrap_or(Self::DEFAULT_IMAGE).to_owned(),
            context_delivery: fields.choice("contextDelivery", &DELIVERIES).unwrap_or_default(),
            extra_flags: flags(&fields, problems),
            namespace: KanikoNamespace::read(&fields, default_namespace, problems),
            node_selector: fields.text_map("nodeSelector"),
            tolerations: Toleration::read_all(&fields, "tolerations", problems),
            annotations: fields.text_map("annotations"),
            service_account_annotations: fields.text_map("serviceAccountAnnotations"),
            util: fields.node("util").and_then(|node| KanikoUtil::read(node, problems)),
        };
        fields.finish_with(|| options.own_issues());
        options
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let tolerations = item_issues("tolerations", &self.tolerations, Toleration::issues);
        let util = self
            .util
            .iter()
            .flat_map(|util| item_issues("tolerations", &util.tolerations, Toleration::issues));
        let util = util.map(|issue| issue.within("util"));
        self.own_issues().into_iter().chain(tolerations).chain(util).collect()
    }

    /// The rules that are not its tolerations' own.
    fn own_issues(&self) -> Vec<Issue> {
        let namespace = match &self.namespace {
            KanikoNamespace::Named(name) => namespace_issue("namespace", name),
            KanikoNamespace::Project => None,
        };
        let image = image_issue(&self.image, Self::DEFAULT_IMAGE);
        image.into_iter().chain(namespace).collect()
    }
}

impl Default for KanikoOptions {
    fn default() -> Self {
        Self {
            image: Self::DEFAULT_IMAGE.to_owned(),
            context_delivery: ContextDelivery::default(),
            extra_flags: Vec::new(),
            namespace: KanikoNamespace::default(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            annotations: BTreeMap::new(),
            service_account_annotations: BTreeMap::new(),
            util: None,
        }
    }
}

impl Serialize for KanikoNamespace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Project => serializer.serialize_none(),
            Self::Named(name) => serializer.serialize_str(name),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for KanikoNamespace {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KanikoNamespace".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "null"] })
    }
}

impl KanikoUtil {
    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let fields = Fields::open(node, "`kaniko.util`", problems)?;
        let util = Self {
            node_selector: fields.text_map("nodeSelector"),
            tolerations: Toleration::read_all(&fields, "tolerations", problems),
            annotations: fields.text_map("annotations"),
        };
        fields.finish();
        Some(util)
    }
}

impl KanikoNamespace {
    /// Reads the field `namespace`, for which leaving it out and `null` are not the same.
    fn read(fields: &Fields<'_>, default: Self, problems: &Problems) -> Self {
        match fields.raw("namespace") {
            None => default,
            Some(node) if node.is_null() => Self::Project,
            Some(node) => {
                text(node, "`namespace`", problems).map_or(default, |name| Self::Named(name.to_owned()))
            }
        }
    }
}

impl Default for KanikoNamespace {
    fn default() -> Self {
        Self::Named(KanikoOptions::SYSTEM_NAMESPACE.to_owned())
    }
}

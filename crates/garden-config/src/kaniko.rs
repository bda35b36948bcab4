use std::collections::BTreeMap;

use garden_build_core::ImageReference;

use crate::Toleration;
use crate::decode::{Fields, text};
use crate::names::namespace_issue;
use crate::node::{Node, Value};
use crate::problem::{Issue, Problems};

/// How kaniko builds: the provider's field `kaniko`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KanikoOptions {
    /// The image of the kaniko executor. Default: [`KanikoOptions::DEFAULT_IMAGE`].
    pub image: String,
    /// Flags for every build, in order; a build's own flags are stronger. Default: none.
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
}

/// Where builder pods run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KanikoNamespace {
    /// In the project's namespace.
    Project,
    /// In the namespace of this name.
    Named(String),
}

impl KanikoOptions {
    /// The executor image that is used unless another is set.
    ///
    /// The project that the guide links to was archived in 2025 and its images are no longer
    /// updated; this is the release of its maintained successor, `osscontainertools/kaniko`.
    /// Garden's own default, `gcr.io/kaniko-project/executor:v1.11.0-debug`, works as well.
    pub const DEFAULT_IMAGE: &str = "ghcr.io/osscontainertools/kaniko:v1.28.3";

    /// The namespace that the guide's default means.
    pub const SYSTEM_NAMESPACE: &str = "garden-system";

    /// Reads the field `kaniko`.
    pub(crate) fn read(node: &Node, problems: &Problems) -> Self {
        let Some(fields) = Fields::open(node, "`kaniko`", problems) else { return Self::default() };
        fields.set_aside(&["util", "serviceAccountAnnotations"]);
        let tolerations = fields.list("tolerations").into_iter();
        let options = Self {
            image: fields.text("image").unwrap_or(Self::DEFAULT_IMAGE).to_owned(),
            extra_flags: flags(&fields, problems),
            namespace: KanikoNamespace::read(&fields, problems),
            node_selector: fields.text_map("nodeSelector"),
            tolerations: tolerations.filter_map(|item| Toleration::read(item, problems)).collect(),
            annotations: fields.text_map("annotations"),
        };
        fields.finish_with(|| options.own_issues());
        options
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let tolerations = self.tolerations.iter().enumerate().flat_map(|(index, toleration)| {
            let parent = format!("tolerations[{index}]");
            toleration.issues().into_iter().map(move |issue| issue.within(&parent))
        });
        self.own_issues().into_iter().chain(tolerations).collect()
    }

    /// The rules that are not its tolerations' own.
    fn own_issues(&self) -> Vec<Issue> {
        let namespace = match &self.namespace {
            KanikoNamespace::Named(name) => namespace_issue("namespace", name),
            KanikoNamespace::Project => None,
        };
        let image = self.image.parse::<ImageReference>().err().map(|error| {
            Issue::new("image", error.to_string(), format!("write it like `{}`", Self::DEFAULT_IMAGE))
        });
        image.into_iter().chain(namespace).collect()
    }
}

impl Default for KanikoOptions {
    fn default() -> Self {
        Self {
            image: Self::DEFAULT_IMAGE.to_owned(),
            extra_flags: Vec::new(),
            namespace: KanikoNamespace::default(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }
}

impl KanikoNamespace {
    /// Reads the field `namespace`, for which leaving it out and `null` are not the same.
    fn read(fields: &Fields<'_>, problems: &Problems) -> Self {
        match fields.raw("namespace") {
            None => Self::default(),
            Some(node) if node.is_null() => Self::Project,
            Some(node) => text(node, "`namespace`", problems)
                .map_or_else(Self::default, |name| Self::Named(name.to_owned())),
        }
    }
}

impl Default for KanikoNamespace {
    fn default() -> Self {
        Self::Named(KanikoOptions::SYSTEM_NAMESPACE.to_owned())
    }
}

/// Reads `extraFlags`. A flag and its value may be two items, and a value may be a number.
fn flags(fields: &Fields<'_>, problems: &Problems) -> Vec<String> {
    let flag = |item: &Node| match &item.value {
        Value::Number(written) => Some(written.clone()),
        _ => text(item, "each of `extraFlags`", problems).map(str::to_owned),
    };
    fields.list("extraFlags").into_iter().filter_map(flag).collect()
}

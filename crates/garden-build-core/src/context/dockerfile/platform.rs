//! The variables that tell a build of platforms, which nobody has to declare.

/// The variables that are always there, to `BuildKit`. Older versions have neither `TARGETSTAGE` nor the systems' versions.
/// Source: `BuildKit` v0.26, `frontend/dockerfile/dockerfile2llb/platform.go`.
pub(super) const PREDEFINED: [&str; 11] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
];

/// A platform for which the variables have values. There are others.
pub(super) struct Platform<'p> {
    architecture: &'p str,
    variant: &'p str,
}

impl<'p> Platform<'p> {
    pub(super) fn parse(text: &'p str) -> Option<Self> {
        let (architecture, variant) = match text.split('/').collect::<Vec<_>>().as_slice() {
            ["linux", architecture] => (*architecture, ""),
            ["linux", architecture, variant] => (*architecture, *variant),
            _ => return None,
        };
        // Spellings that BuildKit does not change.
        let is_plain = match architecture {
            "amd64" | "arm64" | "386" | "ppc64le" | "s390x" | "riscv64" => variant.is_empty(),
            "arm" => matches!(variant, "v6" | "v7"),
            _ => false,
        };
        is_plain.then_some(Self { architecture, variant })
    }

    /// What the variable called `name` is, if the platform that is built for says so.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        match name {
            "TARGETPLATFORM" => {
                let slash = if self.variant.is_empty() { "" } else { "/" };
                Some(format!("linux/{}{slash}{}", self.architecture, self.variant))
            }
            "TARGETOS" => Some("linux".to_owned()),
            "TARGETARCH" => Some(self.architecture.to_owned()),
            "TARGETVARIANT" => Some(self.variant.to_owned()),
            _ => None,
        }
    }
}

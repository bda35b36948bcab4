//! What may happen between a client and a registry: the right result comes out of it, or an error that says what
//! happened; never a wrong image, and never a credential that goes where it does not belong.

mod chunks;
mod cuts;
mod once;
mod redirects;
mod wrong_content;

use garden_build_core::ImageReference;

use crate::process::Program;
use crate::proxy::Proxy;

const PROGRAMS: [Program; 2] = [Program::DockerRegistry, Program::Distribution];

/// An image as it is called by who asks through a proxy or a wire.
fn image_at(address: std::net::SocketAddr, repository: &str, tag: &str) -> ImageReference {
    ImageReference::tagged(&address.to_string(), repository, tag).expect("valid")
}

impl Proxy {
    fn image(&self, repository: &str, tag: &str) -> ImageReference {
        image_at(self.address, repository, tag)
    }
}

use super::super::deployments;
use super::super::pod::FakePod;
use super::super::program::{Connection, End, Process};
use super::FakeCluster;
use crate::script;

/// What happens in it.
impl FakeCluster {
    /// Runs `kubelet` for each pod that is created from now on, in a task of its own.
    pub fn on_pod<F: Future<Output = ()> + Send + 'static>(
        &self,
        kubelet: impl Fn(FakePod) -> F + Send + Sync + 'static,
    ) {
        self.state().kubelet = Some(script::boxed(kubelet));
    }

    /// Makes pods of Deployments from now on, by way of `ReplicaSets`, and counts in their status how many are ready.
    pub fn run_deployments(&self) {
        tokio::spawn(deployments::run(self.clone()));
    }

    /// Answers each `exec` with what `program` does.
    pub fn on_exec<F: Future<Output = End> + Send + 'static>(
        &self,
        program: impl Fn(Process) -> F + Send + Sync + 'static,
    ) {
        self.state().exec = Some(script::boxed(program));
    }

    /// Answers each `attach` with what `program` does.
    pub fn on_attach<F: Future<Output = End> + Send + 'static>(
        &self,
        program: impl Fn(Process) -> F + Send + Sync + 'static,
    ) {
        self.state().attach = Some(script::boxed(program));
    }

    /// Answers each `portforward` with what `listener` does; without one, nobody listens.
    pub fn on_connection<F: Future<Output = ()> + Send + 'static>(
        &self,
        listener: impl Fn(Connection) -> F + Send + Sync + 'static,
    ) {
        self.state().listener = Some(script::boxed(listener));
    }
}

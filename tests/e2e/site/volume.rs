//! A volume that goes with the test.

use garden_build::config::PersistentStorage;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::Project;

impl Project {
    /// Makes a volume of a storage class of its own.
    pub(crate) async fn make_volume(&self) -> PersistentStorage {
        let directory = self.volume_directory();
        self.on_the_node(&format!("mkdir -p /node{directory}")).await;
        let node = json!({ "key": "kubernetes.io/os", "operator": "In", "values": ["linux"] });
        let volume = json!({
            "metadata": { "name": self.namespace },
            "spec": {
                "capacity": { "storage": "1Gi" },
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": self.namespace,
                "local": { "path": directory },
                "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [node] }] } },
            },
        });
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        volumes.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
        let mut storage = PersistentStorage::default();
        storage.size = 1024;
        storage.storage_class = Some(self.namespace.clone());
        storage
    }

    fn volume_directory(&self) -> String {
        format!("/var/tmp/garden-build-{}", self.namespace)
    }

    /// Removes the volume that [`Self::make_volume`] has made, which no pod uses any more.
    pub(crate) async fn remove_volume(&self) {
        self.on_the_node(&format!("rm -r /node{}", self.volume_directory())).await;
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        volumes.delete(&self.namespace, &DeleteParams::default()).await.unwrap();
    }
}

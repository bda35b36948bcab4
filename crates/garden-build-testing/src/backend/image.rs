use garden_build_core::context::TarStream;
use garden_build_core::{BuildJob, Error, ErrorKind, Result};
use serde_json::json;

use crate::registry::Image;

/// Makes the images of a build, one for each platform.
pub(super) async fn of_job(job: &BuildJob) -> Result<Vec<Image>> {
    let context = job.context.clone();
    let archive = tokio::task::spawn_blocking(move || {
        let mut archive = TarStream::new(Vec::new());
        archive.add_context(&context, &|| false, &mut |_| ())?;
        archive.finish()
    });
    let archive = archive.await.map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the context was not read").with_source(error)
    })??;
    let request = &job.request;
    let arguments: Vec<String> =
        request.build_args.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let target = request.target.as_deref().unwrap_or_default();
    let history = json!([{ "created_by": format!("|{} {} {target}", arguments.len(), arguments.join(" ")) }]);
    let whole = Image::new().layer(archive).with_config(|config| config["history"] = history);
    let whole = request.labels.iter().fold(whole, |image, (name, value)| image.label(name, value));
    let images = request.platforms.iter().map(|platform| whole.clone().platform(platform));
    Ok(if request.platforms.is_empty() { vec![whole] } else { images.collect() })
}

//! Whoever may run commands in the service's pod can do with its files what they like, and say what they like. The executor is
//! given none of it.

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// A member of a gzip file.
fn member(contents: &[u8]) -> Vec<u8> {
    let mut member = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut member, contents).expect("compressed");
    member.finish().expect("compressed")
}

/// The context of three parts that all tests here begin with: two that are known by their bytes, and between them one that is
/// known by what it holds.
struct Scene {
    service: Service,
    session: Conversation,
    key: Key,
    pack: Digest,
    parts: [Vec<u8>; 3],
}

const END: &[u8] = b"the end";

impl Scene {
    async fn new() -> Self {
        let service = Service::start();
        let key = Key::random();
        let mut session = service.session(&key).await;
        let parts = [noise(300_000), member(&b"files ".repeat(50_000)), b"more".repeat(500)];
        let pack = store(&mut session, &parts.concat()).await.expect("stored");
        Self { service, session, key, pack, parts }
    }

    /// What the client says of the parts.
    fn start(&self, key: &Key) -> Vec<u8> {
        let [first, second, third] = &self.parts;
        let parts = [
            (first, Proof::Stored(Digest::of(first))),
            (second, Proof::Plain(Digest::of(&b"files ".repeat(50_000)))),
            (third, Proof::Stored(Digest::of(third))),
        ];
        handover::start(key, parts.into_iter().map(|(part, proof)| (part.len() as u64, proof)), END)
    }

    async fn hand_over(&mut self) {
        let length = self.parts.concat().len() as u64;
        assert_eq!(
            self.session.rope(&[range(self.pack, 0, length)]).await.expect("an answer"),
            RopeAnswer::Going
        );
        let start = self.start(&self.key);
        self.session.hand_over(&start, END).await.expect("handed over");
        let end = self.session_file("end");
        service::until(|| fs::read(&end).is_ok_and(|bytes| bytes == END)).await;
    }

    fn session_file(&self, name: &str) -> std::path::PathBuf {
        self.service.path(&format!("run/sessions/{}/{name}", self.service.the_session()))
    }

    fn pack_file(&self) -> std::path::PathBuf {
        self.service.path(&format!("packs/v1/{}.pack", self.pack.hex()))
    }

    /// The pod fails, and its executor has got no more than these parts.
    async fn assert_refused(self, what: &str, reason: &str, parts: usize) {
        let ended = Pod::start(&self.service, &self.key, 0).ended().await;
        assert_eq!(ended.code, 1, "{what}");
        // What the shell says of the executor that it has killed comes after.
        let said = format!("garden-build: the build context was altered: {reason}\n");
        assert!(ended.stderr.starts_with(&said), "{what}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{what}");
        assert!(
            self.parts[..parts].concat().starts_with(&ended.received),
            "{what}: {} bytes",
            ended.received.len()
        );
    }
}

#[tokio::test]
async fn what_nobody_has_altered_arrives() {
    garden_test_programs::needs!(Busybox);
    let mut scene = Scene::new().await;
    scene.hand_over().await;
    let ended = Pod::start(&scene.service, &scene.key, 0).ended().await;
    assert_eq!((ended.code, ended.stderr.contains("altered")), (0, false), "{}", ended.stderr);
    assert!(ended.received == [scene.parts.concat().as_slice(), END].concat());
}

#[tokio::test]
async fn a_pack_whose_content_was_exchanged_reaches_no_executor() {
    garden_test_programs::needs!(Busybox);
    for part in 0..3 {
        let mut scene = Scene::new().await;
        scene.hand_over().await;
        let mut poisoned = scene.parts.clone();
        match part {
            // As long as before, and as good a gzip file.
            1 => {
                let length = poisoned[1].len();
                poisoned[1] = member(&b"filth ".repeat(50_000));
                poisoned[1].resize(length, 0);
            }
            part => poisoned[part][7] ^= 1,
        }
        fs::write(scene.pack_file(), poisoned.concat()).expect("written");
        let number = part + 1;
        let reason = format!("part {number} is not what the client has");
        scene.assert_refused(&format!("part {number}"), &reason, part).await;
    }
}

#[tokio::test]
async fn what_is_in_another_order_or_left_out_reaches_no_executor() {
    garden_test_programs::needs!(Busybox);
    let mut scene = Scene::new().await;
    scene.hand_over().await;
    let [first, second, third] = scene.parts.each_ref().map(|part| part.len() as u64);
    let pack = scene.pack.hex();
    let rope = format!("{pack} 0 {first}\n{pack} {} {third}\n{pack} {first} {second}\n", first + second);
    fs::write(scene.session_file("rope"), rope).expect("written");
    scene.assert_refused("another order", "part 2 is not what the client has", 1).await;

    let mut scene = Scene::new().await;
    scene.hand_over().await;
    fs::write(scene.session_file("rope"), format!("{} 0 {first}\n", scene.pack.hex())).expect("written");
    let ended = Pod::start(&scene.service, &scene.key, 0).ended().await;
    assert_eq!(ended.code, 1);
    // As if it had broken off, which it has.
    assert!(ended.stderr.starts_with("garden-build: the build context broke off: "), "{}", ended.stderr);
    assert!(scene.parts[0].starts_with(&ended.received));
}

#[tokio::test]
async fn another_dockerfile_reaches_no_executor() {
    garden_test_programs::needs!(Busybox);
    let mut scene = Scene::new().await;
    scene.hand_over().await;
    fs::write(scene.session_file("end"), b"THE END").expect("written");
    scene.assert_refused("the end", "part 4 is not what the client has", 3).await;
}

/// What becomes of the list.
type Alter = fn(&Scene, Vec<u8>) -> Vec<u8>;

#[tokio::test]
async fn a_list_that_is_not_the_client_s_is_not_believed() {
    garden_test_programs::needs!(Busybox);
    let not_ours = "the list of its parts is not the client's";
    let altered: [(&str, &str, Alter); 4] = [
        ("a digit", not_ours, |_, mut start| {
            let last = start.len() - 2;
            start[last] ^= 1;
            start
        }),
        ("of another build", not_ours, |scene, _| scene.start(&Key::random())),
        ("a part less", not_ours, |_, start| {
            let text = String::from_utf8(start).expect("text");
            let (head, list) = text.split_once('\n').expect("a line");
            let list: String = list.split_inclusive('\n').skip(1).collect();
            format!("{:07}{}\n{list}", list.len(), &head[7..]).into_bytes()
        }),
        ("nonsense", "it begins with what no client has sent", |_, start| {
            [&b"elephant"[..], &start].concat()
        }),
    ];
    for (what, reason, alter) in altered {
        let mut scene = Scene::new().await;
        scene.hand_over().await;
        let start = alter(&scene, scene.start(&scene.key));
        fs::write(scene.session_file("start"), start).expect("written");
        scene.assert_refused(what, reason, 0).await;
    }
}

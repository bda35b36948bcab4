//! Proxies as networks have them, which tests start: Debian's tinyproxy (HTTP) and microsocks (SOCKS 5).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, process, thread};

/// A proxy on this machine, which does not outlive the test.
#[derive(Debug)]
pub struct NetworkProxy {
    address: SocketAddr,
    process: Child,
    directory: PathBuf,
}

impl NetworkProxy {
    /// Starts tinyproxy. Tunnels lead to `tunnels` only, as they commonly lead to the port of TLS only.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub fn tinyproxy(user: Option<(&str, &str)>, tunnels: u16) -> Self {
        Self::tinyproxy_at(Ipv4Addr::LOCALHOST.into(), user, tunnels)
    }

    /// The same, at an address of this machine that others reach.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub fn tinyproxy_at(host: IpAddr, user: Option<(&str, &str)>, tunnels: u16) -> Self {
        Self::start(host, |address, directory| {
            let (port, log) = (address.port(), directory.join("log"));
            let user =
                user.map_or_else(String::new, |(name, password)| format!("BasicAuth {name} {password}\n"));
            let configuration = format!(
                "Port {port}\nListen {host}\nTimeout 600\nMaxClients 50\nLogLevel Connect\nLogFile \"{}\"\n\
                 ConnectPort {tunnels}\n{user}",
                log.display()
            );
            let file = directory.join("tinyproxy.conf");
            fs::write(&file, configuration).expect("written");
            let mut command = Command::new("tinyproxy");
            command.arg("-d").arg("-c").arg(file);
            command
        })
    }

    /// Starts microsocks.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub fn microsocks(user: Option<(&str, &str)>) -> Self {
        Self::start(Ipv4Addr::LOCALHOST.into(), |address, _| {
            let mut command = Command::new("microsocks");
            command.args(["-i", "127.0.0.1", "-p", &address.port().to_string()]);
            if let Some((name, password)) = user {
                command.args(["-u", name, "-P", password]);
            }
            command
        })
    }

    /// Neither of them can choose a free port: another program may be quicker to take the one that was free.
    fn start(host: IpAddr, command: impl Fn(SocketAddr, &Path) -> Command) -> Self {
        for _ in 0..10 {
            let directory = own_directory();
            let listener = TcpListener::bind((host, 0)).expect("a free port");
            let address = listener.local_addr().expect("bound");
            drop(listener);
            let mut process = command(address, &directory)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("a proxy");
            while process.try_wait().expect("a state").is_none() {
                if TcpStream::connect(address).is_ok() {
                    return Self { address, process, directory };
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("the proxy does not start")
    }

    /// Its URL. `user` is empty, or user name and password as a URL has them, with the `@`.
    pub fn url(&self, scheme: &str, user: &str) -> String {
        format!("{scheme}://{user}{}", self.address)
    }

    /// What tinyproxy has logged of requests.
    ///
    /// # Panics
    ///
    /// Panics if it has no log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).expect("a log")
    }
}

impl Drop for NetworkProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Makes a directory that nobody else uses.
fn own_directory() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = env::temp_dir().join(format!("garden-build-test-proxy-{}-{number}", process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    directory
}

//! The demo codes of FLEX Bond, line by line: three parties, here three threads, by a message server.

use std::error::Error;
use std::thread;

use flexbond::blocking::Federation;
use flexbond::collectives::federation::{Config, Server, ServerConfig};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PARTIES: [&str; 3] = ["zhibang-d-014010", "zhibang-d-014011", "zhibang-d-014012"];

/// Python: `commu.init(config)`, once for every process.
fn init(server: &str, local_id: &str) -> Result<Federation> {
    let config = r#"{
        "server": "SERVER",
        "session": {"role": "host", "local_id": "LOCAL", "job_id": "test_job"},
        "federation": {"host": ["zhibang-d-014010", "zhibang-d-014011", "zhibang-d-014012"]}
    }"#;
    let config = Config::from_json(&config.replace("SERVER", server).replace("LOCAL", local_id))?;
    Ok(Federation::connect(config)?)
}

fn useful_api(commu: &Federation) {
    let commu = commu.as_async();
    // Python: `commu.get_job_id()`, `commu.get_local_id()`, `commu.get_fedration_members()`
    let members: Vec<_> = commu.members().iter().map(|member| member.id.as_str()).collect();
    println!(
        "job {}, party {} of {members:?}",
        commu.job_id(),
        commu.local_id()
    );
}

fn variable_channel(commu: &Federation, remote_id: &str) -> Result<()> {
    let var_chan = commu.variable("Test_var", remote_id)?;

    // How to send a var
    let var = 123;
    var_chan.send(&var)?;

    // How to receive a var
    let remote_var: i32 = var_chan.recv()?;
    assert_eq!(remote_var, 123);

    // How to swap a var (send my var and get remote var at the same time.)
    let remote_var: i32 = var_chan.swap(&var)?;
    assert_eq!(remote_var, 123);

    // The context manager's style: a channel is dropped where its scope ends.
    {
        let var_chan = commu.variable("Test_var", remote_id)?;
        var_chan.send(&var)?;
        let remote_var: i32 = var_chan.recv()?;
        assert_eq!(remote_var, 123);
    }

    // Use your own tag instead of auto_offset
    let my_tag = "aaa";
    let var_chan = commu.variable("Test_var", remote_id)?.tagged(my_tag)?;
    var_chan.send(&var)?;
    let remote_var: i32 = var_chan.recv()?;
    assert_eq!(remote_var, 123);
    let remote_var: i32 = var_chan.swap(&var)?;
    assert_eq!(remote_var, 123);
    Ok(())
}

fn broadcast_channel(commu: &Federation) -> Result<()> {
    let [first, second, root] = PARTIES;
    let var_chan = commu.broadcast("Test_var", root, [first, second])?;
    let local_id = commu.as_async().local_id().as_str();
    let var = 123;

    if local_id == root {
        // On root process
        var_chan.broadcast(&var)?;
        // A list with one for each of the group.
        let remote_var: Vec<i32> = var_chan.gather()?;
        assert_eq!(remote_var, [123, 123]);
        var_chan.scatter(&["a", "b"])?;
    } else {
        // On remote_group process
        let root_var: i32 = var_chan.recv_broadcast()?;
        assert_eq!(root_var, 123);
        var_chan.send_gather(&var)?;
        // If local_id is "zhibang-d-014010", root_var is "a".
        let root_var: String = var_chan.recv_scatter()?;
        assert_eq!(root_var == "a", local_id == first);
    }
    Ok(())
}

fn party(server: &str, local_id: &str) -> Result<()> {
    let commu = init(server, local_id)?;
    useful_api(&commu);
    if local_id == PARTIES[0] {
        variable_channel(&commu, PARTIES[1])?;
    } else if local_id == PARTIES[1] {
        variable_channel(&commu, PARTIES[0])?;
    }
    broadcast_channel(&commu)?;
    commu.close()?;
    Ok(())
}

/// Runs all of it.
pub(crate) fn run() -> Result<()> {
    // Python: `python message_server.py`. As a program it is `flexbond serve`.
    let runtime = tokio::runtime::Runtime::new()?;
    let mut config = ServerConfig::new();
    config.listen = vec!["tcp://127.0.0.1:0".parse()?];
    let server = runtime.block_on(Server::bind(config))?;
    let endpoint = server.endpoints()[0].to_string();

    let parties = PARTIES.map(|local_id| {
        let endpoint = endpoint.clone();
        thread::spawn(move || party(&endpoint, local_id))
    });
    for party in parties {
        party.join().map_err(|_| "a party has panicked")??;
    }
    println!("all values came over");
    Ok(())
}

#[allow(dead_code, reason = "a test runs the rest")]
fn main() -> Result<()> {
    run()
}

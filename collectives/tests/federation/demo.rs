//! The demo of FLEX Bond, line by line.

use flexbond_collectives::federation::{Config, Federation, MemoryNetwork};

use crate::within;

/// `config.json` of one party.
fn config(local_id: &str) -> Config {
    let text = r#"{
        "server": "localhost:16001",
        "session": {"role": "host", "local_id": "LOCAL", "job_id": "test_job"},
        "federation": {"host": ["zhibang-d-014010", "zhibang-d-014011", "zhibang-d-014012"]}
    }"#;
    Config::from_json(&text.replace("LOCAL", local_id)).unwrap()
}

fn init(network: &MemoryNetwork, local_id: &str) -> Federation {
    let config = config(local_id);
    let carrier = network.carrier(config.local().clone());
    Federation::join(config, carrier).unwrap()
}

async fn variable_channel(commu: Federation, remote_id: &str) {
    assert_eq!(commu.job_id(), &"test_job");
    assert!(commu.local_id().as_str().starts_with("zhibang-d-01401"));
    assert_eq!(commu.members().len(), 3);

    let var_chan = commu.variable("Test_var", remote_id).unwrap();

    // How to send a var
    let var = 123;
    var_chan.send(&var).await.unwrap();

    // How to receive a var
    let remote_var: i32 = var_chan.recv().await.unwrap();
    assert_eq!(remote_var, 123);

    // How to swap a var (send my var and get remote var at the same time.)
    let remote_var: i32 = var_chan.swap(&var).await.unwrap();
    assert_eq!(remote_var, 123);

    // This is a context manager style usage
    {
        let var_chan = commu.variable("Test_var", remote_id).unwrap();
        var_chan.send(&var).await.unwrap();
        let remote_var: i32 = var_chan.recv().await.unwrap();
        assert_eq!(remote_var, 123);
    }

    // Use your own tag instead of auto_offset
    let var_chan = commu.variable("Test_var", remote_id).unwrap();
    let my_tag = "aaa";
    var_chan.tagged(my_tag).unwrap().send(&var).await.unwrap();
    let remote_var: i32 = var_chan.tagged(my_tag).unwrap().recv().await.unwrap();
    assert_eq!(remote_var, 123);
    let remote_var: i32 = var_chan.tagged(my_tag).unwrap().swap(&var).await.unwrap();
    assert_eq!(remote_var, 123);
    commu.close().await;
}

#[tokio::test(start_paused = true)]
async fn variable_channels() {
    let network = MemoryNetwork::new();
    let one = init(&network, "zhibang-d-014010");
    let two = init(&network, "zhibang-d-014011");
    let _third = init(&network, "zhibang-d-014012");
    within(async {
        tokio::join!(
            variable_channel(one, "zhibang-d-014011"),
            variable_channel(two, "zhibang-d-014010")
        )
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn broadcast_channels() {
    const GROUP: [&str; 2] = ["zhibang-d-014010", "zhibang-d-014011"];
    let network = MemoryNetwork::new();
    let root = init(&network, "zhibang-d-014012");
    let group = GROUP.map(|id| init(&network, id));

    // On root process
    let on_root = async {
        let var_chan = root.broadcast("Test_var", "zhibang-d-014012", GROUP).unwrap();
        let var = 123;
        var_chan.broadcast(&var).await.unwrap();
        let remote_var: Vec<String> = var_chan.gather().await.unwrap(); // one for each of the group
        assert_eq!(remote_var, ["from zhibang-d-014010", "from zhibang-d-014011"]);
        var_chan.scatter(&["a", "b"]).await.unwrap();
    };

    // On remote_group process
    let on_group = async |commu: &Federation| {
        let var_chan = commu.broadcast("Test_var", "zhibang-d-014012", GROUP).unwrap();
        let var = format!("from {}", commu.local_id());
        let root_var: i32 = var_chan.recv_broadcast().await.unwrap();
        assert_eq!(root_var, 123);
        var_chan.send_gather(&var).await.unwrap();
        let root_var: String = var_chan.recv_scatter().await.unwrap();
        // if local_id is "zhibang-d-014010" root_var == a
        assert_eq!(root_var == "a", commu.local_id() == "zhibang-d-014010");
    };

    within(async { tokio::join!(on_root, on_group(&group[0]), on_group(&group[1])) }).await;
}

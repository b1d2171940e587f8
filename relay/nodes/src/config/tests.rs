use super::*;

fn refusal(text: &str) -> String {
    read("node.toml", text, []).unwrap_err().to_string()
}

#[test]
fn without_a_file_it_is_one_embedded_database() {
    let checked = read("", "", []).unwrap();
    assert!(checked.is_embedded());
    assert_eq!(checked.control.bytes(), b"sqlite:headland-node-data/headland.db");
    assert_eq!(checked.clusters, [("main".to_owned(), vec![checked.control.clone()])]);
}

#[test]
fn the_printed_document_reads_as_the_defaults() {
    assert_eq!(read("", &document(), []).unwrap().config, Config::default());
}

#[test]
fn clusters_are_named_and_have_databases() {
    let text = "[store]\ncontrol = \"postgres://u:p@h/c\"\n\
                [[store.clusters]]\nname = \"a\"\ndatabases = [\"postgres://u:p@h/1\", \"postgres://u:p@h/2\"]\n";
    let checked = read("node.toml", text, []).unwrap();
    assert!(!checked.is_embedded());
    assert_eq!(checked.clusters.len(), 1);
    assert!(!format!("{checked:?}").contains("u:p"), "passwords are not shown");
    assert!(
        refusal("[[store.clusters]]\nname = \"a\"\ndatabases = [\"sqlite:x\"]\n").contains("store.control")
    );
    let control = "[store]\ncontrol = \"sqlite:c\"\n";
    assert!(refusal(&format!("{control}[[store.clusters]]\nname = \"a\"\n")).contains("at least one"));
    assert!(refusal("[store]\ncontrol = \"mysql://h/c\"\n").contains("postgres://"));
}

#[test]
fn a_public_address_is_refused_unless_told() {
    assert!(refusal("[http]\naddress = \"8.8.8.8:1\"\n").contains("allow_public_address"));
    read("", "[http]\naddress = \"8.8.8.8:1\"\nallow_public_address = true\n", []).unwrap();
}

#[test]
fn relays_are_told_with_their_key() {
    assert!(refusal("[relays]\naddresses = [\"127.0.0.1:9000\"]\n").contains("relays"));
}

#[test]
fn times_of_tokens_fit_each_other() {
    assert!(refusal("[tokens]\nrotate_every = \"1h\"\n").contains("publish_before"));
    assert!(refusal("[tokens]\naccess_lifetime = \"48h\"\n").contains("access_lifetime"));
}

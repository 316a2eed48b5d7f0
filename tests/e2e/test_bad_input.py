"""What cannot work is refused in one line that says what to do."""
import os
import socket
import sqlite3
import unittest

from cluster import wait
from command import PINTLE, PINTLED, SIM_CONFIG, CommandTest, lock_holder, without_privileges


class BadInputTest(CommandTest):
    def test_a_port_in_use_names_the_process_that_has_it(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            for start in ((PINTLE, "up", "--detach"), (PINTLED,)):
                line = self.refused(*start, "--config", SIM_CONFIG, "--listen", address, "--data", self.path("d"), code=1)
                self.assertIn(f'"{address}" is in use by', line)
                self.assertIn(f"{os.getpid()}", line)
                self.assertIn("python3", line)
                self.assertIn("--listen", line)
        self.assertEqual(lock_holder(self.path("d")), 0)
        self.assertEqual(lock_holder(self.path("d"), "supervisor"), 0)

    def test_a_foreign_directory_is_left_alone(self):
        foreign = self.path("thesis")
        os.mkdir(foreign)
        with open(os.path.join(foreign, "chapter.tex"), "w") as f:
            f.write("years of work")
        for command in (("up", "--detach", "--config", SIM_CONFIG), ("down", "--purge")):
            line = self.refused(PINTLE, *command, "--data", foreign, code=2)
            self.assertIn(foreign, line)
            self.assertIn("--data", line)
        line = self.refused(PINTLED, "--config", SIM_CONFIG, "--listen", "127.0.0.1:0", "--data", foreign, code=1, timeout=20)
        self.assertIn(f"{foreign} is not empty and not Pintle's", line)
        self.assertEqual(os.listdir(foreign), ["chapter.tex"])

    def test_an_unreadable_directory_is_named(self):
        closed = "/root/pintle"
        if os.geteuid() == 0:
            closed = self.path("closed")
            os.mkdir(closed, 0o700)
            os.chmod(self.home, 0o755)
        for start in (("up", "--detach", "--config", SIM_CONFIG), ("down",), ("status",)):
            line = self.refused(*without_privileges(PINTLE, *start, "--data", closed + "/data"), code=1)
            self.assertIn(closed, line)
            self.assertIn("Permission denied", line)

    def test_a_file_in_place_of_the_directory_is_named(self):
        path = self.write("data", "x")
        line = self.refused(PINTLE, "up", "--detach", "--config", SIM_CONFIG, "--data", path, code=2)
        self.assertIn(path, line)

    def test_a_data_directory_has_one_pintled(self):
        data = self.path("d")
        self.up(data)
        pid = lock_holder(data)
        line = self.refused(PINTLED, "--config", SIM_CONFIG, "--listen", "127.0.0.1:0", "--data", data, code=3)
        self.assertIn(f"process {pid}", line)
        self.assertIn(data, line)
        line = self.refused(PINTLE, "up", "--config", SIM_CONFIG, "--listen", "127.0.0.1:0", "--data", data, code=3)
        self.assertIn(f"pintle down --data {data}", line)
        self.assertEqual(lock_holder(data), pid)

    def test_a_database_of_a_newer_pintle_is_not_touched(self):
        data = self.path("d")
        self.up(data)
        self.pintle("down", "--data", data)
        db = sqlite3.connect(os.path.join(data, "store.db"))
        self.addCleanup(db.close)
        db.execute("PRAGMA user_version = 999")
        db.commit()
        line = self.refused(PINTLE, "up", "--detach", "--config", SIM_CONFIG, "--listen", "127.0.0.1:0", "--data", data, code=1)
        self.assertIn("newer Pintle (format 999", line)
        self.assertIn("store.db", line)
        self.assertEqual(db.execute("PRAGMA user_version").fetchone(), (999,))

    def test_a_file_that_is_no_database_is_named(self):
        data = self.path("d")
        os.mkdir(data, 0o700)
        self.write("d/pintled.lock", "")
        self.write("d/store.db", "this is not a database, whatever its name says" * 100)
        line = self.refused(PINTLED, "--config", SIM_CONFIG, "--listen", "127.0.0.1:0", "--data", data, code=1)
        self.assertIn("store.db", line)

    def test_a_bad_configuration_is_named_by_file_line_and_column(self):
        for text, place, words in (
                ("listen: [\"127.0.0.1:0\"]\nlog: {levl: info}\n", "2:7", 'did you mean "level"?'),
                ("plugins:\n  gc: {enabled: maybe}\n", "2:8", "must be boolean"),
                ("plugins:\n  gc: [\n", "3:1", ""),
                ("slots: 7\n", "1:1", "must be object")):
            path = self.write("bad.yaml", text)
            for start in ((PINTLED,), (PINTLE, "up"), (PINTLE, "up", "--detach")):
                line = self.refused(*start, "--config", path, "--data", self.path("d"), code=2)
                self.assertIn(f"{path}:{place}", line)
                self.assertIn(words, line)
            self.assertIn(f"{path}:{place}", self.refused(PINTLE, "config", "check", path, code=2))
        self.assertFalse(os.path.exists(self.path("d")))

    def test_a_missing_configuration_is_named(self):
        self.assertIn(self.path("none.yaml"), self.refused(PINTLE, "up", "--config", self.path("none.yaml"), code=1))
        self.assertIn(self.path("none.yaml"), self.refused(PINTLED, "--config", self.path("none.yaml"), code=2))

    def test_a_plugin_in_the_file_that_does_not_exist_fails_alone(self):
        path = self.write("more.yaml", self.read(SIM_CONFIG) + "  teleporter:\n")
        data = self.path("d")
        self.up(data, config=path)
        self.wait_for(data, "get", "plugin", "teleporter", "-o", "jsonpath={.status.state} {.status.message}", contains="Failed")
        self.assertIn("teleporter", self.kubectl(data, "get", "plugins").stdout)
        r = self.pintle("status", "--data", data, code=1)
        self.assertRegex(r.stdout, r"(?m)^teleporter .*Failed .*teleporter")
        self.wait_for(data, "get", "nodes", contains=" Ready")

    def test_config_check_knows_plugins_their_configuration_and_slots(self):
        path = self.path("wrong.yaml")
        with open(path, "w") as f:
            f.write("plugins:\n  cores: {}\n  core: {config: {cafile: 1}}\n  scheduler-default: {}\nslots:\n  scheduler.default-scheduler: nobody\n  dns.x: scheduler-default\n")
        r = self.run_program(PINTLE, "config", "check", path, code=2)
        for expected in (f'{path}:2:', 'no file with a plugin called "cores"', 'did you mean "core"?', "plugins.core.config.cafile",
                         'plugin "nobody" is not among the plugins of this file', 'plugin "scheduler-default" cannot hold this slot; it can hold scheduler.'):
            self.assertIn(expected, r.stderr)
        self.assertIn("good", self.run_program(PINTLE, "config", "check", SIM_CONFIG, code=0).stdout)

    def test_a_directory_that_others_may_write_is_refused(self):
        data = self.path("d")
        os.mkdir(data)
        os.chmod(data, 0o777)
        self.assertIn(f"run: chmod go-w {data}", self.refused(PINTLED, "--config", SIM_CONFIG, "--data", data, "--listen", "127.0.0.1:0", code=1))

    def test_a_mistyped_option_or_command_gets_a_hint(self):
        self.assertEqual(self.refused(PINTLE, "up", "--detatch", code=2), 'pintle: unknown option "--detatch"; did you mean "--detach"?; see pintle up --help')
        self.assertEqual(self.refused(PINTLED, "--lisen", ":1", code=2), 'pintled: unknown option "--lisen"; did you mean "--listen"?; see pintled --help')
        self.assertIn('did you mean "preflight"?', self.refused(PINTLE, "prefligth", code=2))
        self.assertIn("there are: config check, config diff", self.refused(PINTLE, "config", "dif", code=2))

    def test_a_listen_address_that_is_none_is_named(self):
        for address in ("localhost", "127.0.0.1:99999", "[::1:80"):
            line = self.refused(PINTLED, "--config", SIM_CONFIG, "--data", self.path("d"), "--listen", address, code=1)
            self.assertIn(f'"{address}"', line)

    def test_commands_without_a_cluster_say_how_to_start_one(self):
        for command in (("status",), ("kubeconfig",), ("explain", "pod/x"), ("config", "diff", "--config", SIM_CONFIG)):
            line = self.refused(PINTLE, *command, "--data", self.path("none"), code=1)
            self.assertIn(self.path("none"), line)
            self.assertIn("pintle up", line)

    def test_a_stopped_cluster_says_so(self):
        data = self.path("d")
        self.up(data)
        self.pintle("down", "--data", data)
        line = self.refused(PINTLE, "explain", "pod/x", "--data", data, code=1)
        self.assertIn("127.0.0.1", line)
        r = self.pintle("status", "--data", data, code=1)
        self.assertIn(f"pintled does not run; start it: pintle up --data {data}", r.stderr)
        wait(lambda: lock_holder(data) == 0, 5, "the end of pintled")


if __name__ == "__main__":
    unittest.main()

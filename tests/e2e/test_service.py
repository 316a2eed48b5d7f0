"""pintled under a service manager: its protocol, the unit file, installation and packages."""
import configparser
import os
import shutil
import socket
import subprocess
import unittest

from cluster import BUILD
from command import PINTLED, SIM_CONFIG, CommandTest, lock_holder


class NotifyTest(CommandTest):
    """The service manager's side of sd_notify(3), played by the test."""

    def manager(self):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(self.path("notify"))
        manager.settimeout(60)
        return manager

    def start(self, *args):
        log = open(self.path("log"), "wb")
        self.addCleanup(log.close)
        process = subprocess.Popen([PINTLED, "--config", SIM_CONFIG, "--listen", "127.0.0.1:0", "--data", self.path("d"), *args], stderr=log, stdout=log,
                                   env={**self.env, "NOTIFY_SOCKET": self.path("notify")})
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.kill)
        return process

    def test_ready_is_said_when_the_api_serves_and_stopping_at_the_end(self):
        manager = self.manager()
        process = self.start()
        self.assertEqual(manager.recv(4096), b"READY=1")
        self.assertEqual(self.kubectl(self.path("d"), "get", "--raw", "/readyz").stdout.strip(), "ok")
        process.terminate()
        self.assertEqual(manager.recv(4096), b"STOPPING=1")
        self.assertEqual(process.wait(30), 0)

    def test_a_start_that_fails_never_says_ready(self):
        manager = self.manager()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            process = self.start("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
            self.assertEqual(process.wait(30), 1)
        manager.setblocking(False)
        with self.assertRaises(BlockingIOError):
            manager.recv(4096)


class InstallTest(CommandTest):
    def unit(self, path):
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str
        parser.read(path)
        return parser

    def test_the_installed_unit_is_good_and_names_the_installed_program(self):
        prefix = self.path("prefix")
        self.run_program("cmake", "--install", BUILD, "--component", "pintle", "--prefix", prefix)
        path = os.path.join(prefix, "lib/systemd/system/pintled.service")
        service = self.unit(path)["Service"]
        self.assertEqual(service["ExecStart"], f"{prefix}/bin/pintled --config {prefix}/etc/pintle/pintle.yaml")
        for key, value in (("Type", "notify"), ("KillMode", "process"), ("Delegate", "yes"), ("Restart", "always")):
            self.assertEqual(service[key], value)
        verified = self.run_program("systemd-analyze", "verify", "--man=no", path, code=None)
        self.assertNotIn("pintled.service", verified.stdout + verified.stderr)
        self.assertEqual(self.run_program(os.path.join(prefix, "bin/pintle"), "config", "check", f"{prefix}/etc/pintle/pintle.yaml").stderr, "")
        # The unit's own command line starts: the programs and plugins of an installation find each other.
        data = self.path("d")
        self.addCleanup(self.end, data)
        self.run_program(os.path.join(prefix, "bin/pintle"), "up", "--detach", "--wait", "--config", os.path.join(prefix, "share/pintle/sim.yaml"), "--listen", "127.0.0.1:0", "--data", data)
        status = self.run_program(os.path.join(prefix, "bin/pintle"), "status", "--data", data).stdout
        self.assertRegex(status, r"(?m)^scheduler-default .* Active")
        self.assertTrue(os.readlink(f"/proc/{lock_holder(data)}/exe").startswith(prefix))

    def test_a_configuration_that_is_there_stays(self):
        prefix = self.path("prefix")
        install = ("cmake", "--install", BUILD, "--component", "pintle", "--prefix", prefix)
        self.run_program(*install)
        config = os.path.join(prefix, "etc/pintle/pintle.yaml")
        with open(config, "a") as f:
            f.write("# mine\n")
        self.assertIn(f"Kept: {config}", self.run_program(*install).stdout)
        self.assertTrue(self.read(config).endswith("# mine\n"))

    def test_the_packages_hold_what_they_should(self):
        work = self.path("cpack")
        os.mkdir(work)
        self.run_program("cpack", "-G", "DEB", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-B", work, timeout=600)
        packages = {f.split("_")[0]: os.path.join(work, f) for f in os.listdir(work) if f.endswith(".deb")}
        self.assertEqual(set(packages), {"pintle", "pintle-dev"})
        listed = {name: self.run_program("dpkg-deb", "--contents", path).stdout for name, path in packages.items()}
        for name in ("./usr/bin/pintled", "./usr/bin/pintle", "./usr/bin/pintle-host", "./etc/pintle/pintle.yaml", "./usr/lib/systemd/system/pintled.service",
                     "./usr/share/pintle/sim.yaml", "./usr/share/bash-completion/completions/pintle", "./usr/share/zsh/vendor-completions/_pintle",
                     "./usr/share/fish/vendor_completions.d/pintle.fish", "/pintle/plugins/core.so"):
            self.assertRegex(listed["pintle"], rf"(?m){name.replace('.', '[.]')}$")
        for name in ("./usr/include/pintle/abi.h", "./usr/bin/pintle-manifest", "./usr/share/pintle/template/runtime/CMakeLists.txt", "/cmake/Pintle/PintleConfig.cmake"):
            self.assertIn(name, listed["pintle-dev"])
        for name, path in packages.items():
            self.assertNotRegex(listed[name], r"(?m) \./(?!usr|etc)\S+$")
            fields = self.run_program("dpkg-deb", "--field", path).stdout
            self.assertRegex(fields, r"(?m)^Maintainer: .*@")
        # What the programs are linked with is asked for.
        self.assertRegex(self.run_program("dpkg-deb", "--field", packages["pintle"], "Depends").stdout, r"libc6 .*libsqlite3-0")
        self.assertEqual(self.run_program("dpkg-deb", "--info", packages["pintle"], "conffiles").stdout.strip(), "/etc/pintle/pintle.yaml")
        for script in ("postinst", "prerm"):
            text = self.run_program("dpkg-deb", "--info", packages["pintle"], script).stdout
            self.run_program("sh", "-n", input=text)
        unit = self.path("unit")
        self.run_program("dpkg-deb", "--extract", packages["pintle"], unit)
        self.assertEqual(self.unit(f"{unit}/usr/lib/systemd/system/pintled.service")["Service"]["ExecStart"], "/usr/bin/pintled --config /etc/pintle/pintle.yaml")
        shutil.rmtree(unit)


if __name__ == "__main__":
    unittest.main()

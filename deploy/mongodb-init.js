// The job `mongo-init` of compose.yaml: makes one replica set of three members, and two accounts. Safe to run again.
// Until there is an account, mongod lets whoever comes from its own address make the first one; hence 127.0.0.1.

const fs = require("fs");
const secret = (name) => fs.readFileSync(`/run/secrets/${name}`, "utf8").trim();

const HOSTS = ["mongo1:27017", "mongo2:27017", "mongo3:27017"];
const PATIENCE_MS = 120000;
const rootPassword = secret("mongodb_root_password");
const webPassword = secret("mongodb_web_password");

const member = connect("mongodb://127.0.0.1:27017/admin?directConnection=true");

if (!member.hello().setName) {
  print("Initiating the replica set …");
  const members = [];
  for (let place = 0; place < HOSTS.length; place += 1) {
    // This member is to be the first primary: the first account is made here.
    members.push({ _id: place, host: HOSTS[place], priority: place === 0 ? 2 : 1 });
  }
  // A primary that is lost is missed for five seconds, not for ten (docs/high-availability.md).
  const settings = { electionTimeoutMillis: 5000 };
  member.adminCommand({ replSetInitiate: { _id: "rs0", members, settings } });
}

const giveUpAt = Date.now() + PATIENCE_MS;
while (!member.hello().primary) {
  if (Date.now() > giveUpAt) {
    throw new Error("No member has become primary.");
  }
  sleep(500);
}

let isRootThere = true;
try {
  member.auth("root", rootPassword);
} catch (error) {
  isRootThere = false;
}
if (!isRootThere) {
  print("Making the first account …");
  while (!member.hello().isWritablePrimary) {
    if (Date.now() > giveUpAt) {
      throw new Error("mongo1 has not become primary, so that the first account cannot be made. Run this again.");
    }
    sleep(500);
  }
  member.createUser({ user: "root", pwd: rootPassword, roles: ["root"] });
}

// From here on wherever the primary is.
const set = connect(
  `mongodb://root:${encodeURIComponent(rootPassword)}@${HOSTS.join(",")}/admin?replicaSet=rs0&authSource=admin`,
);
// Its own database and nothing else: no rights over the cluster, the other databases or the accounts.
const roles = [{ role: "readWrite", db: "healthcare" }];
if (set.getUser("healthcare")) {
  set.updateUser("healthcare", { pwd: webPassword, roles });
} else {
  set.createUser({ user: "healthcare", pwd: webPassword, roles });
}

const settings = set.adminCommand({ replSetGetConfig: 1 }).config;
let isUneven = false;
for (const each of settings.members) {
  isUneven = isUneven || each.priority !== 1;
  each.priority = 1;
}
if (isUneven) {
  // No member is better than another: a second election when it comes back would be for nothing.
  settings.version += 1;
  set.adminCommand({ replSetReconfig: settings });
}
print("The replica set is ready.");

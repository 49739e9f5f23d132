// The job `mongo-init` of compose.yaml: creates a replica set of three members, and two accounts. The script can run
// again without harm. The script connects to 127.0.0.1, because mongod permits the creation of the first account only
// from its own address.

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
    // This member must become the first primary, because the script creates the first account here.
    members.push({ _id: place, host: HOSTS[place], priority: place === 0 ? 2 : 1 });
  }
  // The members notice the loss of a primary after five seconds instead of ten (docs/high-availability.md).
  const settings = { electionTimeoutMillis: 5000 };
  member.adminCommand({ replSetInitiate: { _id: "rs0", members, settings } });
}

const giveUpAt = Date.now() + PATIENCE_MS;
while (!member.hello().primary) {
  if (Date.now() > giveUpAt) {
    throw new Error("No member has become primary. Check the logs of mongo1, mongo2 and mongo3.");
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
  print("Creating the first account …");
  while (!member.hello().isWritablePrimary) {
    if (Date.now() > giveUpAt) {
      throw new Error("mongo1 has not become primary, so the first account cannot be created. Run this job again.");
    }
    sleep(500);
  }
  member.createUser({ user: "root", pwd: rootPassword, roles: ["root"] });
}

// From here on the script talks to whichever member is the primary.
const set = connect(
  `mongodb://root:${encodeURIComponent(rootPassword)}@${HOSTS.join(",")}/admin?replicaSet=rs0&authSource=admin`,
);
// The application has rights on its own database only: none on the cluster, the other databases or the accounts.
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
  // All members are equal. With a higher priority mongo1 would force a second election each time it comes back.
  settings.version += 1;
  set.adminCommand({ replSetReconfig: settings });
}
print("The replica set is ready.");

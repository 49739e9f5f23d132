from django.db import migrations

#: Group → app and model → what members of the group may do with the model. All other actions are denied. (The permission
#: to read the reports belongs to `reports.Counter`, the first of their collections.)
GROUPS = {
    "Front desk": {
        ("patients", "patient"): ("view", "add", "change"),
        ("doctors", "doctor"): ("view",),
        ("appointments", "appointment"): ("view", "add", "change"),
    },
    "Billing": {
        ("patients", "patient"): ("view",),
        ("appointments", "appointment"): ("view",),
        ("billing", "bill"): ("view", "add", "change"),
        ("billing", "fee"): ("view", "add", "change", "delete"),
    },
    "Auditors": {
        ("healthcare", "auditentry"): ("view",),
        ("healthcare", "event"): ("view",),
    },
    "Managers": {
        ("doctors", "doctor"): ("view",),
        ("billing", "fee"): ("view",),
        ("reports", "counter"): ("view_report",),
    },
}


def create(apps, schema_editor):
    """Create the groups that do not exist. A group that exists keeps the permissions that an admin has given it.

    Django creates permissions after all migrations. This function creates those that the groups need, and Django later
    finds them.
    """  # noqa: S608
    ContentType = apps.get_model("contenttypes", "ContentType")
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    for name, rights in GROUPS.items():
        group, is_new = Group.objects.get_or_create(name=name)
        if not is_new:
            continue
        for (app, model), actions in rights.items():
            content_type, _ = ContentType.objects.get_or_create(app_label=app, model=model)
            for deed in actions:
                codename = deed if "_" in deed else f"{deed}_{model}"
                permission, _ = Permission.objects.get_or_create(
                    content_type=content_type,
                    codename=codename,
                    defaults={"name": f"Can {codename.replace('_', ' ')}"},
                )
                group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(create, migrations.RunPython.noop)]

"""Command that removes a second factor, for an account without phone and recovery codes when no admin can log in."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from accounts import second_factor
from accounts.models import User, normalize_email
from healthcare.errors import Conflict


class Command(BaseCommand):
    help = "Removes the second factor of an account, which then logs in with its password alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")

    def handle(self, *args: object, email: str, **options: object) -> None:
        user = User.objects.filter(email=normalize_email(email)).first()
        if user is None:
            raise CommandError("There is no account with this e-mail.")
        try:
            second_factor.remove(actor=None, user=user)
        except Conflict as error:
            raise CommandError(error.detail) from error
        self.stdout.write("The second factor is removed.")

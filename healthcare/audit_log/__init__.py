"""The audit log: `recorder` writes its entries, `models` describes its tables. The app `audit` reads and seals it."""

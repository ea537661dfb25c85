"""What nodes tell one another besides the database.

Results for each other's viewers, and whose connection was taken over. Only speed: nothing is
stored, owned or acknowledged through it.

- message  what travels, and which of it was missed (pure)
- nats     over NATS
- opening  whether there is one: one process alone has none
"""

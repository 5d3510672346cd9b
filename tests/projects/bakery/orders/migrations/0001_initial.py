import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            "Cake",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=60, unique=True)),
                ("price", models.DecimalField(max_digits=8, decimal_places=2)),
            ],
        ),
        migrations.CreateModel(
            "Order",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("customer", models.CharField(max_length=60)),
                ("due", models.DateField()),
                ("cake", models.ForeignKey("orders.Cake", on_delete=django.db.models.deletion.PROTECT)),
            ],
        ),
    ]

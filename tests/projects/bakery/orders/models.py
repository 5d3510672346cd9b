from django.db import models


class Cake(models.Model):
    name = models.CharField(max_length=60, unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)


class Order(models.Model):
    cake = models.ForeignKey(Cake, on_delete=models.PROTECT)
    customer = models.CharField(max_length=60)
    due = models.DateField()

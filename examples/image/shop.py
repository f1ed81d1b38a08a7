"""Visitors who look at products of a list that is in the image, too."""

from loadstone import User, between, check, csv_feeder, task

products = csv_feeder("products.csv", order="random")


class Visitor(User):
    wait = between(0.1, 0.3)

    @task
    def product(self) -> None:
        product = products.next()
        reply = self.http.get(f"/products/{product['id']}", name="/products/[id]")
        check("the price is right", reply.ok and reply.json()["cents"] == int(product["cents"]))
